package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestConnectionLoss has the broker drop every connection, that of source,
// target, manager, producers and judge, in one phase of a migration. All of
// them connect again and go on; an output may be repeated, and can be told.
func TestConnectionLoss(t *testing.T) {
	for _, phase := range []v1alpha1.MigrationPhase{
		v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring, v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing,
	} {
		for _, quorum := range []bool{false, true} {
			kind := map[bool]string{false: "classic", true: "quorum"}[quorum]
			t.Run(string(phase)+"/"+kind, func(t *testing.T) {
				ctx := within(t, 4*time.Minute)
				interrupted(ctx, t, harness.CounterConfig{
					Name: "loss-" + strings.ToLower(string(phase)) + "-" + kind, Quorum: quorum,
				}, phase, func() error {
					_, err := lab.Exec(ctx, "ctl", "rabbitmqctl", "-q", "close_all_connections", "cut by a test")
					return err
				})
			})
		}
	}
}

// TestBrokerRestart kills the broker while the copy replays.
func TestBrokerRestart(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	interrupted(ctx, t, harness.CounterConfig{Name: "broker-restart"}, v1alpha1.PhaseReplaying, func() error {
		return lab.Restart(ctx, "rabbitmq")
	})
}

// interrupted migrates a counter, does something to it in a phase, and asserts
// that the migration is completed and that nothing is missing.
func interrupted(ctx context.Context, t *testing.T, cfg harness.CounterConfig, phase v1alpha1.MigrationPhase, interrupt func() error) {
	t.Helper()
	// As slow as it takes for the copy not to have caught up when the phase is seen.
	cfg.Work = 5 * time.Millisecond
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: cfg})
	m := create(ctx, t, flow, nil)
	m = follow(ctx, t, m, func(m *v1alpha1.StatefulMigration) bool {
		return m.Status.Phase == phase || slices.Contains(later(phase), m.Status.Phase)
	})
	if m.Status.Phase != phase {
		t.Fatalf("went past %s: %s", phase, harness.Summary(m))
	}
	if err := interrupt(); err != nil {
		t.Fatal(err)
	}
	m = follow(ctx, t, m, harness.Ended)
	if m.Status.Phase != v1alpha1.PhaseCompleted {
		t.Fatal(harness.Summary(m))
	}
	pod, err := lab.TargetPod(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := flow.Counted(ctx, flow.Collector.Count()+100); err != nil {
		t.Fatal(err)
	}
	outcome, err := flow.Finish(ctx, pod)
	if err != nil {
		t.Fatal(err)
	}
	judgedBy(t, outcome, load.Verdict.OKWithoutRepeated)
	noTraces(ctx, t, flow, m, pod)
}
