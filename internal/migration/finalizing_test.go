package migration_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

func TestFinalizing(t *testing.T) {
	const freeze = "Send FREEZE to the source"
	frozen := source(handover.Frozen)
	live := target(handover.Live)
	run(t, v1alpha1.PhaseFinalizing, []row{
		{name: "FREEZE", action: freeze, check: func(t *testing.T, p migration.Plan) {
			if c := p.Action.(migration.Send).Command; c.DeadlineMillis != 150000 || c.ReportMillis != 50 {
				t.Errorf("%+v", c)
			}
		}},
		{name: "refused", change: all(func(f *migration.Facts) { f.Source.Sent = said(handover.Freeze) }, refusal(handover.Freeze, handover.ReasonDrainDeadline), later(4*time.Second)), action: freeze},
		{name: "frozen", change: frozen, check: func(t *testing.T, p migration.Plan) {
			if p.Status.Positions.End != 40 {
				t.Errorf("%+v", p.Status.Positions)
			}
		}},
		{name: "the source is gone before END_REPLAY", change: func(f *migration.Facts) { f.Source.Pod = nil }, action: "Send TAKEOVER to the target", check: fences(sourceUID)},
		{name: "the source is gone after END_REPLAY", change: func(f *migration.Facts) {
			f.Source.Pod = nil
			condition(f.Object, v1alpha1.ConditionReplayed, metav1.ConditionFalse, migration.ReasonFrozen)
		}},
		{name: "late", change: all(frozen, later(300*time.Second)), action: "WriteAbort", reason: migration.ReasonDeadline},
		{name: "live", change: all(frozen, live), action: "Send RETIRE to the source", check: func(t *testing.T, p migration.Plan) {
			if *p.Status.Pauses.HandoverMillis != 1000 {
				t.Errorf("pause %d", *p.Status.Pauses.HandoverMillis)
			}
		}},
		{name: "live, and FROZEN was not heard", change: all(source(handover.Relaying), live), action: "Send RETIRE to the source", check: func(t *testing.T, p migration.Plan) {
			if p.Status.Positions.End != 0 {
				t.Errorf("%+v", p.Status.Positions)
			}
		}},
		{name: "… but is later", change: all(source(handover.Retired), live, func(f *migration.Facts) {
			pause := int64(90)
			f.Object.Status.Pauses = &v1alpha1.Pauses{HandoverMillis: &pause}
		}), action: "DeletePod", check: func(t *testing.T, p migration.Plan) {
			if p.Status.Positions == nil || p.Status.Positions.End != 40 {
				t.Errorf("%+v", p.Status.Positions)
			}
		}},
		{name: "deleted, but live", change: all(frozen, live, deleted), action: "Send RETIRE to the source"},
		{name: "COMMIT stands, the target may not know", change: all(frozen, func(f *migration.Facts) { f.Decision = migration.Committed })},
		{name: "COMMIT stands, and nothing is heard for long", change: all(frozen, func(f *migration.Facts) {
			f.Decision = migration.Committed
			f.Object.Spec.Deadlines.FinalizeSeconds = 1
		}), action: "Send RETIRE to the source"},
		{name: "retired", change: all(source(handover.Retired), live), action: "DeletePod", check: func(t *testing.T, p migration.Plan) {
			if a := p.Action.(migration.DeletePod); a.Name != "counter" || a.UID != sourceUID || a.Grace != nil {
				t.Errorf("%+v", a)
			}
		}},
	})
}

// recorded is a target pod whose name and UID are recorded.
func recorded(f *migration.Facts) {
	f.Object.Status.TargetPodName, f.Object.Status.TargetPodUID = "counter-abc", targetUID
	f.Target.Pod = pod("counter-abc", targetUID, "node-b")
	f.Target.Pod.Labels[v1alpha1.LabelMigration] = uid
}
