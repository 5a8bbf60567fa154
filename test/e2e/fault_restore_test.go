package e2e

import (
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/test/harness"
)

// TestFaultRestore has the restore fail, or give a copy that nobody hears of.
func TestFaultRestore(t *testing.T) {
	managerAt(t, "--lease=8s")
	t.Run("CRIU fails", func(t *testing.T) {
		tr := begin(t, nil)
		mend := tr.hit(lab.BreakCRIU(tr.ctx, harness.NodeB))
		tr.migrate(nil)
		tr.ends(v1alpha1.PhaseFailed, migration.ReasonRestoreFailed, "criu failed")
		mend()
		tr.sourceAsBefore()
	})
	t.Run("the copy is mute", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(deadlines(v1alpha1.Deadlines{RestoreSeconds: 12}))
		tr.reach(v1alpha1.PhaseCheckpointing) // later the copy may answer before the cut is made
		mend := tr.hit(lab.CutBroker(tr.ctx, harness.NodeB))
		tr.ends(v1alpha1.PhaseFailed, migration.ReasonDeadline, "has not answered yet")
		mend()
		tr.sourceAsBefore()
	})
	t.Run("the copy stops", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		tr.hit(lab.Pause(tr.ctx, podOf(tr.ctx, t, tr.flow, tr.m, target)))
		tr.ends(v1alpha1.PhaseFailed, migration.ReasonTargetLost)
		tr.sourceAsBefore()
	})
}
