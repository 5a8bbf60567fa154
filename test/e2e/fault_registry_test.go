package e2e

import (
	"context"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/test/harness"
)

// TestFaultRegistry has the registry fail between the preflight, which asks it, and
// the push.
func TestFaultRegistry(t *testing.T) {
	lock := func(ctx context.Context) (harness.Undo, error) { return lab.LockRegistry(ctx) }
	for _, tc := range []struct {
		name   string
		fault  func(context.Context) (harness.Undo, error)
		reason string // while it is tried again
		words  string
	}{
		{"stopped", func(ctx context.Context) (harness.Undo, error) { return lab.Stop(ctx, "registry") },
			v1alpha1.TransferReasonRetrying, "connection refused"},
		{"401", lock, v1alpha1.TransferReasonUnauthorized, "UNAUTHORIZED: authentication required"},
		// A page: with more, the registry may get as far as to leave an empty link to a
		// blob, and answer 500 about that one from then on, without a word of the disk.
		{"full", func(ctx context.Context) (harness.Undo, error) { return lab.FillRegistry(ctx, 1<<12) },
			v1alpha1.TransferReasonNoSpace, "the registry has no space left"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := begin(t, nil)
			tr.migrate(deadlines(v1alpha1.Deadlines{TransferSeconds: 12}))
			tr.reach(v1alpha1.PhaseCheckpointing)
			mend := tr.hit(tc.fault(tr.ctx))
			tr.tells(v1alpha1.ConditionTransferred, tc.reason)
			tr.gaveUp(migration.ReasonDeadline)
			tr.comesToLife() // though the registry has not come back
			mend()
			tr.ends(v1alpha1.PhaseFailed, migration.ReasonDeadline, "deadlines.transferSeconds", tc.words)
			tr.sourceAsBefore()
		})
	}
	t.Run("stopped and back", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseCheckpointing)
		mend := tr.hit(lab.Stop(tr.ctx, "registry"))
		tr.tells(v1alpha1.ConditionTransferred, v1alpha1.TransferReasonRetrying)
		mend()
		tr.completes()
		tr.targetServes()
	})
	if !*full {
		return // the kubelet brings a Secret to a pod within a minute or two
	}
	t.Run("401 until the Secret is right", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseCheckpointing)
		unlock := tr.hit(lock(tr.ctx))
		tr.tells(v1alpha1.ConditionTransferred, v1alpha1.TransferReasonUnauthorized)
		tr.hit(lab.GiveRegistryPassword(tr.ctx))
		tr.completes()
		unlock() // the judge has no password
		tr.targetServes()
	})
}
