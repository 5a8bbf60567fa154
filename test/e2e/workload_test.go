package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// next is the round over the nodes.
var next = map[string]string{harness.NodeA: harness.NodeB, harness.NodeB: harness.NodeC, harness.NodeC: harness.NodeA}

// workload fills in how the counters of a workload run if nothing else is asked
// for: 100 messages per second for each queue.
func workload(cfg harness.WorkloadConfig) harness.WorkloadConfig {
	cfg.Namespace = "e2e"
	if cfg.Work == 0 {
		cfg.Work = 2 * time.Millisecond
	}
	if cfg.Rate == 0 {
		cfg.Rate, cfg.Producers = 100, 3
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 3
	}
	return cfg
}

// startStateful starts a StatefulSet of counters under load. It is removed after
// the test.
func startStateful(ctx context.Context, t *testing.T, cfg harness.WorkloadConfig) *harness.StatefulFlow {
	t.Helper()
	set, err := lab.StartStateful(ctx, workload(cfg))
	if err != nil {
		t.Fatalf("start the StatefulSet: %v", err)
	}
	t.Cleanup(func() { closeWorkload(t, set.Ordinals[0].Counter, set.Close) })
	return set
}

// startDeployment starts a Deployment of counters under load, likewise.
func startDeployment(ctx context.Context, t *testing.T, cfg harness.WorkloadConfig) *harness.DeploymentFlow {
	t.Helper()
	d, err := lab.StartDeployment(ctx, workload(cfg))
	if err != nil {
		t.Fatalf("start the Deployment: %v", err)
	}
	t.Cleanup(func() { closeWorkload(t, d.Counter, d.Close) })
	return d
}

func closeWorkload(t *testing.T, c *harness.Counter, remove func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if t.Failed() {
		t.Log(lab.Diagnose(ctx, c))
	}
	if err := remove(ctx); err != nil {
		t.Error(err)
	}
}

// moveNext moves a counter to the next node, its n-th move, and looks at what is
// cheap to look at; the load goes on.
func moveNext(ctx context.Context, t *testing.T, flow *harness.Flow, n int, change func(*v1alpha1.StatefulMigration)) *harness.Move {
	t.Helper()
	to := next[flow.Pod.Spec.NodeName]
	m, err := flow.Migrate(ctx, harness.MoveConfig{
		Target: to, Backlog: 50, After: 50,
		Change: func(m *v1alpha1.StatefulMigration) {
			m.Name = fmt.Sprintf("%s-%d", m.Name, n)
			t.Cleanup(func() { deleteMigration(t, m) })
			if change != nil {
				change(m)
			}
		},
	})
	if err != nil {
		t.Fatalf("move %d: %v", n, err)
	}
	state, err := lab.State(ctx, m.Target)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("move %d to %s: %s after %.1f s, %d counted, %s", n, m.Target.Spec.NodeName, m.Target.Name, m.Total.Seconds(), state.Count, pauses(m.Migration))
	if state.Mark != flow.Begin.Mark || !state.Owner || m.Target.Spec.NodeName != to || m.Target.UID == m.Source.UID {
		t.Fatalf("not the same memory, or not where it should be: pod %s on %s, %+v", m.Target.Name, m.Target.Spec.NodeName, state)
	}
	flow.Pod = m.Target
	return m
}

// pauses tells the pauses of each hand-over.
func pauses(m *v1alpha1.StatefulMigration) string {
	s := ""
	for _, h := range m.Status.Hops {
		if p := h.Pauses; p != nil && p.CheckpointMillis != nil && p.HandoverMillis != nil {
			s += fmt.Sprintf("hop %d paused %d and %d ms ", h.Hop, *p.CheckpointMillis, *p.HandoverMillis)
		} else {
			s += fmt.Sprintf("hop %d %s ", h.Hop, h.Result)
		}
	}
	return s
}

// committed asserts that a migration took so many hand-overs, and none in vain,
// and that each tells its pauses.
func committed(t *testing.T, m *v1alpha1.StatefulMigration, hops int) {
	t.Helper()
	if len(m.Status.Hops) != hops {
		t.Errorf("%d hops, want %d: %+v", len(m.Status.Hops), hops, m.Status.Hops)
	}
	for _, h := range m.Status.Hops {
		if h.Result != "Committed" {
			t.Errorf("hop %d: %s", h.Hop, h.Result)
		}
		if h.Pauses == nil || h.Pauses.CheckpointMillis == nil || *h.Pauses.CheckpointMillis <= 0 ||
			h.Pauses.HandoverMillis == nil || *h.Pauses.HandoverMillis <= 0 {
			t.Errorf("hop %d tells no pauses: %+v", h.Hop, h.Pauses)
		}
		if p := h.Positions; p == nil || p.Checkpoint == 0 || p.End < p.Checkpoint || p.Target < p.End {
			t.Errorf("hop %d: positions %+v", h.Hop, h.Positions)
		}
	}
}

// undisturbed asserts that a workload's owner and clients saw nothing but what a
// move may show: in dips, only the owner's count of ready pods.
func undisturbed(ctx context.Context, t *testing.T, watched *harness.OwnerWatch, n int, dips bool, moved ...string) harness.View {
	t.Helper()
	v, err := watched.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]harness.Series{"readyReplicas": v.Ready, "availableReplicas": v.Available} {
		t.Logf("%s: at least %d, below %d for %.2f s", name, s.Min(), n, s.Below(n, v.End).Seconds())
		if s.Min() < n && !dips {
			t.Errorf("%s fell: %v", name, s)
		}
	}
	t.Logf("Service: at least %d ready endpoints; the budget: at least %d healthy", v.Endpoints.Min(), v.Healthy.Min())
	if v.Endpoints.Min() < n {
		t.Errorf("the Service had fewer ready endpoints: %v", v.Endpoints)
	}
	for service, s := range v.Each {
		if s.Min() < 1 {
			t.Errorf("the Service %s had no ready endpoint: %v", service, s)
		}
	}
	if v.Healthy.Min() < n {
		t.Errorf("the budget counted fewer healthy pods: %v", v.Healthy)
	}
	if len(v.Generations) != 1 || v.Replicas.Min() != n || len(v.Replicas) != 1 {
		t.Errorf("the owner's spec was changed: generations %v, replicas %v", v.Generations, v.Replicas)
	}
	for _, told := range v.Disturbed(moved...) {
		t.Error(told)
	}
	if len(v.After) != len(v.Before) {
		t.Errorf("%d pods, %d before", len(v.After), len(v.Before))
	}
	return v
}

// settled waits until the workload's pods that end are gone, for a moment of
// grace: a judgement on who lives would else be one on who is dying.
func settled(ctx context.Context, t *testing.T, pods func(context.Context) ([]corev1.Pod, error)) {
	t.Helper()
	all, err := pods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].DeletionTimestamp == nil {
			continue
		}
		if err := harness.Gone(ctx, lab, &all[i], &corev1.PodList{}); err != nil {
			t.Fatal(err)
		}
	}
}

// finishAll judges every counter of a StatefulSet.
func finishAll(ctx context.Context, t *testing.T, set *harness.StatefulFlow, ok func(load.Verdict) bool) []harness.Outcome {
	t.Helper()
	var outcomes []harness.Outcome
	for _, f := range set.Ordinals {
		o, err := f.Finish(ctx, f.Pod)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		judgedBy(t, o, ok)
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// heavy gives the counters of a workload so much memory that over a slow network it is
// seconds until a copy is there, and it has that much to apply.
func heavy(t *corev1.PodTemplateSpec) {
	env := &t.Spec.Containers[0].Env
	*env = append(*env, corev1.EnvVar{Name: "BALLAST_MB", Value: "16"})
}

// replaying begins to move a counter of a heavy workload, until its copy replays.
func replaying(ctx context.Context, t *testing.T, flow *harness.Flow) *v1alpha1.StatefulMigration {
	t.Helper()
	if err := flow.Fill(ctx, 1000); err != nil {
		t.Fatal(err)
	}
	// For the replay to last until something is done to it, whoever is how busy.
	slowNetwork(ctx, t, flow.Name)
	m := flow.Migration(next[flow.Pod.Spec.NodeName])
	m.Spec.Throttle = v1alpha1.ThrottleNever
	if err := lab.Client.Create(ctx, m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteMigration(t, m) })
	return follow(ctx, t, m, func(m *v1alpha1.StatefulMigration) bool {
		if harness.Ended(m) {
			t.Fatalf("went past Replaying: %s", harness.Summary(m))
		}
		return m.Status.Phase == v1alpha1.PhaseReplaying
	})
}
