package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestKillAfterMigration kills the migrated container. It must start fresh from
// its own image, not from the old memory, and count on.
func TestKillAfterMigration(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "kill"}})
	m := move(ctx, t, flow, nil)
	judged(t, m.Outcome)

	kill(ctx, t, m.Target)
	pod := restarted(ctx, t, m.Target)
	state, err := lab.State(ctx, pod)
	if err != nil {
		t.Fatal(err)
	}
	if state.Mark == m.End.Mark || !state.StartedAt.After(m.End.StartedAt) {
		t.Errorf("the killed memory is back: mark %s, started %v", state.Mark, state.StartedAt)
	}
	if got, want := pod.Status.ContainerStatuses[0].ImageID, m.Target.Status.ContainerStatuses[0].ImageID; got != want {
		t.Errorf("restarted from the image %s, want %s", got, want)
	}

	const n = 30
	generator := load.Start(ctx, load.Config{URL: lab.BrokerURL, Queue: flow.Queue, Prefix: "after"})
	generator.Burst(n)
	if _, err := generator.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if err := flow.Counted(ctx, m.Counted+n); err != nil {
		t.Fatal(err)
	}
	if state, err = lab.State(ctx, pod); err != nil {
		t.Fatal(err)
	}
	if state.Count != n {
		t.Errorf("counted %d after the restart, want %d", state.Count, n)
	}
}

// kill ends the process of a pod's container as the kernel would.
func kill(ctx context.Context, t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := lab.Kill(ctx, pod); err != nil {
		t.Fatal(err)
	}
}

// restarted waits until the kubelet has started the pod's container again.
func restarted(ctx context.Context, t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	var now *corev1.Pod
	err := harness.Until(ctx, lab, pod, &corev1.PodList{}, func(p *corev1.Pod) (bool, error) {
		if now = p; p == nil || p.UID != pod.UID {
			return false, fmt.Errorf("the pod %s is gone", pod)
		}
		c := p.Status.ContainerStatuses
		return len(c) == 1 && c[0].RestartCount == 1 && c[0].Ready, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// TestDeleteCompleted deletes a completed migration: the migrated pod stays and
// counts on.
func TestDeleteCompleted(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "delete-completed"}})
	m := create(ctx, t, flow, nil)
	m = follow(ctx, t, m, harness.Ended)
	if m.Status.Phase != v1alpha1.PhaseCompleted {
		t.Fatal(harness.Summary(m))
	}
	deleteMigration(t, m)
	if err := flow.Counted(ctx, flow.Collector.Count()+200); err != nil {
		t.Fatal(err)
	}
	pod, err := lab.TargetPod(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := flow.Finish(ctx, pod)
	if err != nil {
		t.Fatal(err)
	}
	judged(t, outcome)
	noTraces(ctx, t, flow, m, pod)
}

// TestDeleteInPhase deletes migrations before they have decided: the source
// goes on as if nothing had been, and nothing is left.
func TestDeleteInPhase(t *testing.T) {
	for _, phase := range []v1alpha1.MigrationPhase{
		v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring,
		v1alpha1.PhaseRestoring, v1alpha1.PhaseReplaying,
	} {
		t.Run(string(phase), func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{
				Name: "delete-" + strings.ToLower(string(phase)),
				// Big and slow enough for every phase to last.
				BallastMB: 64, Work: 8 * time.Millisecond,
			}})
			m := create(ctx, t, flow, nil)
			m = follow(ctx, t, m, func(m *v1alpha1.StatefulMigration) bool {
				return m.Status.Phase == phase || slices.Contains(later(phase), m.Status.Phase)
			})
			if m.Status.Phase != phase {
				t.Fatalf("went past %s: %s", phase, harness.Summary(m))
			}
			last := deleteAndWatch(ctx, t, m)
			t.Logf("deleted in %s; last seen: %s", phase, harness.Summary(last))
			noTraces(ctx, t, flow, last, flow.Pod)

			if err := flow.Counted(ctx, flow.Collector.Count()+200); err != nil {
				t.Fatal(err)
			}
			pod, err := lab.PodReady(ctx, keyOf(flow.Pod))
			if err != nil {
				t.Fatal(err)
			}
			if pod.UID != flow.Pod.UID || pod.Status.ContainerStatuses[0].RestartCount != 0 {
				t.Errorf("the source was replaced or restarted")
			}
			outcome, err := flow.Finish(ctx, pod)
			if err != nil {
				t.Fatal(err)
			}
			judged(t, outcome)
			if outcome.End.Consumer != "Live" {
				t.Errorf("the source is %s", outcome.End.Consumer)
			}
		})
	}
}
