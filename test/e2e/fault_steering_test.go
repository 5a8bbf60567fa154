package e2e

import (
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/test/harness"
)

// TestFaultNotSteered takes the binding of the policy away that steers the pod which a
// StatefulSet makes again, as an API server does by itself in its first half minute. What is
// made then takes nothing; with the binding the migration goes on.
func TestFaultNotSteered(t *testing.T) {
	for _, strategy := range []v1alpha1.Strategy{v1alpha1.StrategyShadow, v1alpha1.StrategySequential} {
		t.Run(string(strategy), func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			set := startStateful(ctx, t, harness.WorkloadConfig{Name: "unsteered-" + strings.ToLower(string(strategy))})
			flow := set.Ordinals[0]
			tr := &trial{T: t, ctx: ctx, flow: flow}
			mend := tr.hit(lab.Unsteer(ctx))
			tr.migrate(func(m *v1alpha1.StatefulMigration) {
				m.Spec.Strategy, m.Spec.TargetNode.Name = strategy, next[flow.Pod.Spec.NodeName]
			})
			tr.tells(v1alpha1.ConditionRestored, migration.ReasonNotSteered)
			mend()
			tr.completes()
			pod, err := lab.TargetPod(ctx, tr.m)
			if err != nil {
				t.Fatal(err)
			}
			flow.Pod = pod
			finishAll(ctx, t, set, load.Verdict.OK)
			noTraces(ctx, t, flow, tr.m, pod)
		})
	}
}
