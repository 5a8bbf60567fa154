package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// TestRelease: MS2M is upgraded while a migration is under way, which replaces manager and
// agents, and nothing is lost. It is not uninstalled while that would break something; when
// it is, nothing is left of it, neither in the cluster nor on the nodes.
func TestRelease(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := lab.Deploy(ctx, *chart); err != nil {
			t.Errorf("install it again: %v", err)
		}
	})
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "release"}})
	upgraded := make(chan error, 1)
	begun := false
	m, err := flow.Move(ctx, harness.MoveConfig{Target: harness.NodeB, Warm: 200, Backlog: 1000, After: 100, Tell: func(m *v1alpha1.StatefulMigration) {
		if m.Status.Phase == v1alpha1.PhaseCheckpointing && !begun {
			begun = true
			go func() {
				upgraded <- lab.Deploy(ctx, *chart, "manager.podAnnotations.test=upgrade", "agent.podAnnotations.test=upgrade", "agent.maxUnavailable=100%", "crds.keep=false")
			}()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-upgraded; err != nil {
		t.Fatalf("upgrade: %v", err)
	}
	judged(t, m.Outcome)

	refused := func(why string) {
		t.Helper()
		if err := lab.Uninstall(ctx); err == nil || !strings.Contains(err.Error(), why) {
			t.Fatalf("uninstall: %v, want a refusal: %s", err, why)
		}
	}
	refused("e2e/" + m.Target.Name + ": replace them first")
	deleteMigration(t, m.Migration)
	if err := flow.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.SetManager(ctx, 0); err != nil { // so that the next one stays as it is
		t.Fatal(err)
	}
	next := flow.Migration(harness.NodeB)
	next.Name = "next"
	if err := lab.Client.Create(ctx, next); err != nil {
		t.Fatal(err)
	}
	refused("migrations are under way: e2e/next")
	deleteMigration(t, next)

	released, err := lab.Released(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := lab.Uninstall(ctx); err != nil {
		t.Fatalf("uninstall: %v", err)
	}
	t.Logf("%d objects uninstalled in %.1f s", len(released), time.Since(before).Seconds())
	left, err := lab.Left(ctx, released, harness.NodeA, harness.NodeB, harness.NodeC)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		t.Errorf("left: %s", l)
	}
}
