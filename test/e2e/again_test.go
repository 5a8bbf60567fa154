package e2e

import (
	"fmt"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestBackAndForth moves one counter ten times, from node-a to node-b and back,
// under load, and looks each time whether it still is the same memory.
func TestBackAndForth(t *testing.T) {
	const moves = 10
	ctx := within(t, 6*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{
		Name: "again", Queues: load.QuorumUnlimited, Work: 5 * time.Millisecond}})
	var done []*harness.Move
	to := map[string]string{harness.NodeA: harness.NodeB, harness.NodeB: harness.NodeA}
	for i := range moves {
		from := flow.Pod
		m, err := flow.Migrate(ctx, harness.MoveConfig{
			Target: to[from.Spec.NodeName], Warm: 100, Backlog: 50, After: 50,
			Change: func(m *v1alpha1.StatefulMigration) { m.Name = fmt.Sprintf("%s-%d", m.Name, i+1) },
		})
		if err != nil {
			t.Fatalf("move %d: %v", i+1, err)
		}
		t.Cleanup(func() { deleteMigration(t, m.Migration) })
		state, err := lab.State(ctx, m.Target)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("move %d to %s: %s after %.1f s, %d counted", i+1, m.Target.Spec.NodeName, m.Target.Name, m.Total.Seconds(), state.Count)
		if state.Mark != flow.Begin.Mark || !state.Owner || m.Target.Spec.NodeName != to[from.Spec.NodeName] {
			t.Fatalf("not the same memory, or not where it should be: %+v", state)
		}
		for name, p := range state.Producers {
			if p.Count != p.Last {
				t.Errorf("producer %s: counted %d up to number %d", name, p.Count, p.Last)
			}
		}
		done, flow.Pod = append(done, m), m.Target
	}
	outcome, err := flow.Finish(ctx, flow.Pod)
	if err != nil {
		t.Fatal(err)
	}
	judged(t, outcome)
	for _, m := range done {
		noTraces(ctx, t, flow, m.Migration, flow.Pod)
	}
	if outcome.End.Count < moves*100 {
		t.Errorf("counted %d messages in %d moves: that is no load", outcome.End.Count, moves)
	}
}
