package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestManagerGone takes the manager away while the copy replays. At the end of its
// lease the source goes on by itself; a manager that comes later finds
// the migration given up and cleans up.
func TestManagerGone(t *testing.T) {
	const lease = 6 * time.Second
	ctx := within(t, 5*time.Minute)
	setManager(ctx, t, 1, "--lease="+lease.String())
	flow := startFlow(ctx, t, busy("manager-gone"))
	m := reaching(ctx, t, flow, v1alpha1.PhaseReplaying)
	comeBack, err := lab.SetManager(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	t.Cleanup(func() { // before the flow is removed, which the manager has to let go
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := comeBack(ctx); err != nil {
			t.Error(err)
		}
	})
	for state := ""; state != "Live"; {
		now, err := lab.State(ctx, flow.Pod)
		if err != nil {
			t.Fatal(err)
		}
		if state = now.Consumer; time.Since(gone) > 2*lease {
			t.Fatalf("the source is still %s %v after the manager was gone, with a lease of %v", state, time.Since(gone), lease)
		}
	}
	t.Logf("the source is Live again %.1f s after the manager was gone", time.Since(gone).Seconds())
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
	if err := comeBack(ctx); err != nil {
		t.Fatal(err)
	}
	m = follow(ctx, t, m, harness.Ended)
	if m.Status.Phase != v1alpha1.PhaseFailed {
		t.Error(harness.Summary(m))
	}
	outcome, err := flow.Finish(ctx, pod)
	if err != nil {
		t.Fatal(err)
	}
	judged(t, outcome)
	noTraces(ctx, t, flow, m, pod)
}

// setManager runs the manager with other flags for the time of a test.
func setManager(ctx context.Context, t *testing.T, replicas int32, flags ...string) {
	t.Helper()
	restore, err := lab.SetManager(ctx, replicas, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := restore(ctx); err != nil {
			t.Error(err)
		}
	})
}

// busy is a counter that has a backlog and gets little less than it can handle, so that a replay
// lasts.
func busy(name string) harness.FlowConfig {
	return harness.FlowConfig{
		CounterConfig: harness.CounterConfig{Name: name, Work: 5 * time.Millisecond, Queues: load.Quorum},
		Rate:          150, Producers: 3,
	}
}

// reaching creates a migration and follows it into a phase; into Replaying until
// the copy has begun to replay.
func reaching(ctx context.Context, t *testing.T, flow *harness.Flow, phase v1alpha1.MigrationPhase) *v1alpha1.StatefulMigration {
	t.Helper()
	m := create(ctx, t, flow, nil)
	return follow(ctx, t, m, func(m *v1alpha1.StatefulMigration) bool {
		if slices.Contains(later(phase), m.Status.Phase) {
			t.Fatalf("went past %s: %s", phase, harness.Summary(m))
		}
		return m.Status.Phase == phase && (phase != v1alpha1.PhaseReplaying || m.Status.Lag != nil)
	})
}
