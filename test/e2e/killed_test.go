package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestKilled kills the process of a party (SIGKILL) in a phase. Without the source
// the copy takes over what the source has written, and what it has not; without
// the copy the source goes on; the manager's next process goes on where the last one was.
// In none of them is anything lost.
func TestKilled(t *testing.T) {
	for _, tc := range []struct {
		who  party
		in   v1alpha1.MigrationPhase
		kind load.Kind
		end  v1alpha1.MigrationPhase
	}{
		{source, v1alpha1.PhaseTransferring, load.QuorumUnlimited, v1alpha1.PhaseCompleted},
		{source, v1alpha1.PhaseRestoring, load.Quorum, v1alpha1.PhaseCompleted},
		{source, v1alpha1.PhaseReplaying, load.Classic, v1alpha1.PhaseCompleted},
		{source, v1alpha1.PhaseReplaying, load.QuorumUnlimited, v1alpha1.PhaseCompleted},
		{source, v1alpha1.PhaseFinalizing, load.Classic, v1alpha1.PhaseCompleted},
		{target, v1alpha1.PhaseReplaying, load.QuorumUnlimited, v1alpha1.PhaseFailed},
		{manager, v1alpha1.PhaseCheckpointing, load.Classic, v1alpha1.PhaseCompleted},
		{manager, v1alpha1.PhaseReplaying, load.Quorum, v1alpha1.PhaseCompleted},
	} {
		t.Run(fmt.Sprintf("%s/%s/%s", tc.who, tc.in, tc.kind), func(t *testing.T) {
			ctx := within(t, 5*time.Minute)
			cfg := busy(strings.ToLower(fmt.Sprintf("killed-%s-%s-%s", tc.who, tc.in, tc.kind)))
			cfg.Queues, cfg.BallastMB = tc.kind, 48 // for every phase to last
			if tc.in == v1alpha1.PhaseFinalizing {
				cfg.Reads = "any" // with a readiness gate to wait for the phase lasts
			}
			flow := startFlow(ctx, t, cfg)
			m := reaching(ctx, t, flow, tc.in)
			victim := podOf(ctx, t, flow, m, tc.who)
			kill(ctx, t, victim)
			killed := time.Now()
			if tc.who == manager {
				// Another pod, since the kubelet waits longer with each restart of this one.
				if err := lab.Client.Delete(ctx, victim, client.GracePeriodSeconds(0)); err != nil {
					t.Fatal(err)
				}
			}
			m = follow(ctx, t, m, harness.Ended)
			if m.Status.Phase != tc.end {
				t.Fatal(harness.Summary(m))
			}
			t.Logf("%s %.1f s after the kill, with attempt %d", m.Status.Phase, time.Since(killed).Seconds(), m.Status.Attempt)
			pod := flow.Pod
			if tc.end == v1alpha1.PhaseCompleted {
				pod = podOf(ctx, t, flow, m, target)
			}
			if err := flow.Counted(ctx, flow.Collector.Count()+100); err != nil {
				t.Fatal(err)
			}
			outcome, err := flow.Finish(ctx, pod)
			if err != nil {
				t.Fatal(err)
			}
			if tc.who == source { // between an output and its acknowledgement
				judgedBy(t, outcome, load.Verdict.OKWithoutRepeated)
			} else {
				judged(t, outcome)
			}
			if outcome.End.Consumer != "Live" {
				t.Errorf("the counter is %s", outcome.End.Consumer)
			}
			noTraces(ctx, t, flow, m, pod)
		})
	}
}

// podOf is the pod that a party runs in.
func podOf(ctx context.Context, t *testing.T, flow *harness.Flow, m *v1alpha1.StatefulMigration, who party) *corev1.Pod {
	t.Helper()
	var (
		pod = flow.Pod
		err error
	)
	switch who {
	case target:
		pod, err = lab.TargetPod(ctx, m)
	case manager:
		pod, err = lab.ManagerPod(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pod
}
