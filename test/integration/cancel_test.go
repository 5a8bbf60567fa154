package integration

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/failpoint"
)

// cancelStride is how many effects lie between two at which a migration is deleted. With
// everyEffect set in the environment none is left out.
const cancelStride = 5

// TestCancelAtEveryEffect deletes the object of a migration at an effect of its
// manager. Before COMMIT it is as if it had never been, after it the pod is moved;
// nothing is left in either case.
func TestCancelAtEveryEffect(t *testing.T) {
	t.Parallel()
	step := cancelStride
	if os.Getenv(everyEffect) != "" {
		step = 1
	}
	for i, k := range []kind{standalone, shadowed, sequential} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			whole := restart(t, k, nil)
			for n := i % step; n < len(whole.effects); n += step {
				t.Run(fmt.Sprintf("%03d-%s", n+1, whole.effects[n].name), func(t *testing.T) {
					t.Parallel()
					cancelled(t, k, whole.effects[n])
				})
			}
		})
	}
}

// cancelled deletes a migration before an effect.
func cancelled(t *testing.T, k kind, at occurrence) {
	t.Helper()
	w := newWorldOf(t, k)
	before := w.inventory(w.source.Name)
	var (
		mu  sync.Mutex
		nth int
		due bool // it is being deleted, or was
	)
	deleted := make(chan error, 1)
	w.start(func(e failpoint.Effect) bool {
		mu.Lock()
		if e.Side == failpoint.Before && e.Name == at.name {
			nth++
		}
		now := nth == at.nth && !due
		due = due || now
		mu.Unlock()
		if now {
			deleted <- kube.Delete(w.ctx, w.migration())
		}
		return false
	})
	w.create()
	var m *v1alpha1.StatefulMigration
	w.eventually("the object to go, or to end undeleted", func() bool {
		now := w.get("move")
		if now == nil {
			return true
		}
		m = now
		return at.varies() && m.Status.Phase == v1alpha1.PhaseCompleted && m.DeletionTimestamp == nil
	})
	mu.Lock()
	was := due
	mu.Unlock()
	switch {
	case was: // the object may be gone before the call that deletes it has returned
		w.must(<-deleted)
	case !at.varies():
		t.Fatalf("it had no %v", at)
	}
	w.mu.Lock()
	committed := len(w.commits) > 0
	w.mu.Unlock()
	pod := w.source
	if committed {
		pod = w.moved(m)
	} else {
		w.eventually("the target to go", func() bool { return len(w.pods()) == k.replicas })
		w.stayed()
	}
	w.clean()
	if pod != nil {
		w.unchanged(before, pod.Name)
	}
}
