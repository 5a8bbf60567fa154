package e2e

import (
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/test/harness"
)

// TestFaultDisk has a disk of a node be full when it is written to, though the
// preflight saw it empty. What was written of the checkpoint is removed.
func TestFaultDisk(t *testing.T) {
	const size = 256 << 20 // enough for the preflight, and to be filled in no time
	for _, tc := range []struct {
		name, node, dir string
		reason          string
	}{
		{"of archives", harness.NodeA, "/var/lib/kubelet/checkpoints", migration.ReasonCheckpointFailed},
		{"of staging", harness.NodeB, "/var/lib/ms2m", v1alpha1.TransferReasonNoSpace},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := begin(t, nil)
			tr.hit(lab.SmallDisk(tr.ctx, tc.node, tc.dir, size))
			tr.migrate(func(*v1alpha1.StatefulMigration) {
				if err := lab.FillDisk(tr.ctx, tc.node, tc.dir, size-1<<20); err != nil {
					t.Fatal(err)
				}
			})
			tr.ends(v1alpha1.PhaseFailed, tc.reason, "no space left on device")
			tr.sourceAsBefore()
		})
	}
}
