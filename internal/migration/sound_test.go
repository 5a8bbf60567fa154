package migration_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
)

// TestStatusByHand holds that a status from which something was taken leads to no
// action that would be bound to nothing. The cases were found by FuzzNext's property.
func TestStatusByHand(t *testing.T) {
	whole := func(phase v1alpha1.MigrationPhase) migration.Facts {
		o := object(phase)
		o.Status.SourcePodName, o.Status.SourcePodUID, o.Status.SourceNode, o.Status.Container = "counter", "uid-1", "node-a", "main"
		o.Status.TargetPodName, o.Status.TargetNode, o.Status.Hop, o.Status.Attempt, o.Status.AttemptEpoch = "counter", "node-b", 1, 1, 1
		o.Status.Strategy, o.Status.CheckpointID = v1alpha1.StrategySequential, "a.tar"
		o.Status.CheckpointImage = &v1alpha1.CheckpointImage{Reference: "r@d", Digest: "d"}
		o.Status.Owner = &v1alpha1.WorkloadReference{Kind: string(owner.StatefulSet), Name: "counter", UID: ownerUID, Revision: revision}
		return migration.Facts{Now: now, Policy: migration.DefaultPolicy(), Object: o, Owner: workload(owner.StatefulSet),
			Source: migration.Instance{Pod: pod("counter", "uid-1", "node-a")}, Decision: migration.Undecided, Preflight: preflight()}
	}
	for name, tc := range map[string]struct {
		phase   v1alpha1.MigrationPhase
		change  func(*v1alpha1.StatefulMigrationStatus)
		missing string
	}{
		"a push of nobody's archive":   {v1alpha1.PhaseTransferring, func(s *v1alpha1.StatefulMigrationStatus) { s.SourcePodUID = "" }, "status.sourcePodUID"},
		"a push on no node":            {v1alpha1.PhaseTransferring, func(s *v1alpha1.StatefulMigrationStatus) { s.SourceNode = "" }, "status.sourceNode"},
		"a push of no archive":         {v1alpha1.PhaseTransferring, func(s *v1alpha1.StatefulMigrationStatus) { s.CheckpointID = "" }, "status.checkpointID"},
		"a checkpoint of no container": {v1alpha1.PhaseCheckpointing, func(s *v1alpha1.StatefulMigrationStatus) { s.Container = "" }, "status.container"},
		"a fetch on no node":           {v1alpha1.PhaseRestoring, func(s *v1alpha1.StatefulMigrationStatus) { s.TargetNode = "" }, "status.targetNode"},
		"a fetch of no image":          {v1alpha1.PhaseRestoring, func(s *v1alpha1.StatefulMigrationStatus) { s.CheckpointImage = nil }, "status.checkpointImage"},
		"an owner that is nobody":      {v1alpha1.PhaseRestoring, func(s *v1alpha1.StatefulMigrationStatus) { s.Owner = nil }, "status.owner"},
	} {
		t.Run(name, func(t *testing.T) {
			f := whole(tc.phase)
			tc.change(&f.Object.Status)
			plan := migration.Next(f)
			c := find(plan.Status.Conditions, v1alpha1.ConditionSucceeded)
			if c == nil || c.Reason != migration.ReasonInvalidSpec || !strings.Contains(c.Message, tc.missing) {
				t.Errorf("given up for %+v, want that %s is missing", c, tc.missing)
			}
			// After COMMIT there is no way back: it waits, and says for what.
			f.Object.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionCommitted, Status: metav1.ConditionTrue, Reason: "Done"}}
			plan = migration.Next(f)
			if wrong := unbound(f, plan); wrong != "" {
				t.Errorf("after COMMIT: %s: %+v", wrong, plan.Action)
			}
		})
	}
	if plan := migration.Next(whole(v1alpha1.PhaseRestoring)); find(plan.Status.Conditions, v1alpha1.ConditionSucceeded) != nil {
		t.Errorf("a whole status is given up, too: %+v", plan.Status.Conditions)
	}
}

// TestUnknownPhase holds that nothing is done for a phase of a later version, whatever
// else is known.
func TestUnknownPhase(t *testing.T) {
	o := object("Dancing")
	condition(o, v1alpha1.ConditionBuffered, metav1.ConditionTrue, "Done")
	for _, d := range []migration.Verdict{migration.Unread, migration.Committed, migration.Aborted} {
		plan := migration.Next(migration.Facts{Now: now, Policy: migration.DefaultPolicy(), Object: o, Decision: d})
		if plan.Action != nil || plan.Ended || plan.Status.Phase != "Dancing" || !strings.Contains(plan.For, "Dancing") {
			t.Errorf("%v: planned %+v", d, plan)
		}
	}
}

func find(conditions []metav1.Condition, kind string) *metav1.Condition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}
