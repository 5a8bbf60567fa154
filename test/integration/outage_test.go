package integration

import (
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestOutage cuts the manager off from the API server in each phase. The source goes
// on serving; when the API server is there again, so does the migration, if its deadline
// has not passed.
func TestOutage(t *testing.T) {
	t.Parallel()
	for phase, stop := range map[v1alpha1.MigrationPhase]string{
		v1alpha1.PhaseTransferring: string(v1alpha1.TransferPush), v1alpha1.PhaseRestoring: string(v1alpha1.TransferStage),
	} {
		for end, deadline := range map[v1alpha1.MigrationPhase]int32{v1alpha1.PhaseCompleted: 60, v1alpha1.PhaseFailed: 2} {
			t.Run(string(phase)+"/"+string(end), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				before := w.inventory(w.source.Name)
				w.mu.Lock()
				w.transfer[stop] = never
				w.mu.Unlock()
				l := newLine(0)
				w.startWith(l.config(), nil)
				w.create(func(m *v1alpha1.StatefulMigration) {
					m.Spec.Deadlines.TransferSeconds, m.Spec.Deadlines.RestoreSeconds = deadline, deadline
				})
				w.phase(phase)
				l.sever()
				if end == v1alpha1.PhaseCompleted { // the agent has done its part meanwhile
					w.mu.Lock()
					delete(w.transfer, stop)
					w.mu.Unlock()
				}
				for away := time.Now().Add(3 * time.Second); time.Now().Before(away); <-time.After(50 * time.Millisecond) {
					w.mu.Lock()
					if in := w.instances[string(w.source.UID)]; in == nil || in.State != handover.Relaying {
						t.Errorf("the source is %+v", in)
					}
					w.mu.Unlock()
				}
				l.mend()
				if end == v1alpha1.PhaseFailed {
					w.failed(migration.ReasonDeadline, "deadlines.")
					w.eventually("the finalizer to go", func() bool { return len(w.see().Finalizers) == 0 })
					w.stayed()
					w.clean()
					w.unchanged(before, w.source.Name)
					return
				}
				m := w.phase(v1alpha1.PhaseCompleted)
				w.eventually("the finalizer to go", func() bool { return len(w.see().Finalizers) == 0 })
				pod := w.moved(m)
				w.clean()
				if pod != nil {
					w.unchanged(before, pod.Name)
				}
			})
		}
	}
}
