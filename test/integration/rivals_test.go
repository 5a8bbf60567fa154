package integration

import (
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
)

// TestRivals has two managers act at the same time, as when a lease was lost and
// nobody has noticed yet: the one whose epoch is the earlier stands back.
func TestRivals(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{standalone, deployment, shadowed, sequential} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			for name, both := range map[string]func(*world){
				"from the beginning": func(w *world) {
					w.start(nil)
					w.start(nil)
					w.create()
				},
				"while the first is at work": func(w *world) {
					w.start(nil)
					w.create()
					w.eventually("a checkpoint", func() bool { return w.see().Status.CheckpointID != "" })
					w.start(nil)
				},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w := newWorldOf(t, k)
					before := w.inventory(w.source.Name)
					both(w)
					m := w.phase(v1alpha1.PhaseCompleted)
					w.eventually("the finalizer to go", func() bool { return len(w.see().Finalizers) == 0 })
					pod := w.moved(m)
					w.clean()
					if pod != nil {
						w.unchanged(before, pod.Name)
					}
					// Each of them claims it once; one that was refused meanwhile claims it again.
					if m.Status.Epoch > 3 {
						t.Errorf("epoch %d: they take it from each other", m.Status.Epoch)
					}
				})
			}
		})
	}
}

// TestRivalDies: the manager that has stood back takes up again what the other one,
// which has died, leaves.
func TestRivalDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mu.Lock()
	w.transfer[string(v1alpha1.TransferPush)] = never
	w.mu.Unlock()
	short := func(r *controller.Reconciler) { r.Policy.Lease = 2 * time.Second }
	w.start(nil, short)
	w.create()
	w.phase(v1alpha1.PhaseTransferring)
	second := w.start(nil, short)
	w.eventually("the second to claim it", func() bool { return w.see().Status.Epoch == 2 })
	second.end()
	w.mu.Lock()
	delete(w.transfer, string(v1alpha1.TransferPush))
	w.mu.Unlock()
	m := w.phase(v1alpha1.PhaseCompleted)
	w.moved(m)
	w.clean()
	if m.Status.Epoch != 3 {
		t.Errorf("epoch %d, want 3", m.Status.Epoch)
	}
}
