package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	kwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/failpoint"
	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestDeadlines lets each phase's deadline pass, and that of the whole in each phase:
// the source is left as it was. What the planner does at each is in internal/migration.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	const short = 2 // seconds
	own := map[v1alpha1.MigrationPhase]struct {
		set             func(*v1alpha1.Deadlines)
		reason, message string
	}{
		v1alpha1.PhasePending:       {func(d *v1alpha1.Deadlines) { d.PendingSeconds = short }, "NoLibrary", "deadlines.pendingSeconds (2)"},
		v1alpha1.PhaseCheckpointing: {func(d *v1alpha1.Deadlines) { d.CheckpointSeconds = short }, "DeadlineExceeded", "deadlines.checkpointSeconds"},
		v1alpha1.PhaseTransferring:  {func(d *v1alpha1.Deadlines) { d.TransferSeconds = short }, "DeadlineExceeded", "deadlines.transferSeconds"},
		v1alpha1.PhaseRestoring:     {func(d *v1alpha1.Deadlines) { d.RestoreSeconds = short }, "DeadlineExceeded", "deadlines.restoreSeconds"},
		v1alpha1.PhaseFinalizing:    {func(d *v1alpha1.Deadlines) { d.FinalizeSeconds = short }, "DeadlineExceeded", "refused FREEZE"},
	}
	for phase, stop := range stuck {
		deadlines := map[string]func(m *v1alpha1.StatefulMigration){}
		want := map[string][2]string{}
		if d, ok := own[phase]; ok { // that of Replaying freezes the source: TestCutoff, and the planner's tests
			deadlines["own"] = func(m *v1alpha1.StatefulMigration) { d.set(&m.Spec.Deadlines) }
			want["own"] = [2]string{d.reason, d.message}
		}
		if phase != v1alpha1.PhasePending {
			// Long enough to come so far on a busy machine; the message tells how far it came.
			deadlines["whole"] = func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.TotalSeconds = 20 }
			want["whole"] = [2]string{"DeadlineExceeded", "deadlines.totalSeconds (20), in the phase " + string(phase)}
		}
		for name, set := range deadlines {
			t.Run(fmt.Sprintf("%s-%s", phase, name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				before := w.inventory(w.source.Name)
				w.mu.Lock()
				stop(w)
				w.mu.Unlock()
				w.start(nil)
				w.create(set)
				m := w.failed(want[name][0], want[name][1])
				if m.Status.EndedAt == nil {
					t.Error("nothing tells when it ended")
				}
				w.eventually("the target to go", func() bool { return len(w.pods()) == 1 })
				w.mu.Lock()
				delete(w.holds, handover.PodSlot(w.namespace, "counter")) // that stopped it in Checkpointing
				w.mu.Unlock()
				w.stayed()
				w.clean()
				w.unchanged(before, w.source.Name)
			})
		}
	}
}

// TestOverdue lets the deadline of the whole pass after COMMIT: it is told, and the
// migration goes on.
func TestOverdue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stay := func(finalizers string) {
		w.must(kube.Patch(w.ctx, w.source, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`))))
	}
	stay(`["test.ms2m.dev/stay"]`)
	w.start(nil)
	w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.TotalSeconds = 30 })
	w.eventually("what tells of it", func() bool { return meta.IsStatusConditionTrue(w.see().Status.Conditions, v1alpha1.ConditionOverdue) })
	if m := w.see(); !meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionCommitted) || m.Status.Phase != v1alpha1.PhaseFinalizing {
		t.Errorf("phase %s, %+v", m.Status.Phase, m.Status.Conditions)
	}
	stay("null")
	w.moved(w.phase(v1alpha1.PhaseCompleted))
	w.clean()
}

// TestBackoffLimit counts the checkpoints that are taken of a source whose kubelet
// fails each time.
func TestBackoffLimit(t *testing.T) {
	t.Parallel()
	for limit := range int32(3) {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			calls := 0
			w.mu.Lock()
			for range 10 {
				w.checkpoints = append(w.checkpoints, func() error {
					calls++
					return &kubelet.Error{Code: 500, Message: "criu failed", Temporary: true}
				})
			}
			w.mu.Unlock()
			w.start(nil)
			w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.BackoffLimit = &limit })
			m := w.failed("CheckpointFailed", fmt.Sprintf("spec.backoffLimit is %d, and attempt %d has failed", limit, limit+1))
			w.mu.Lock()
			if calls != int(limit)+1 || m.Status.Attempt != limit+1 {
				t.Errorf("%d calls, attempt %d", calls, m.Status.Attempt)
			}
			w.mu.Unlock()
			w.stayed()
			w.clean()
		})
	}
}

// TestTimeToLive deletes ended objects when their time has come, and no others.
func TestTimeToLive(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*v1alpha1.StatefulMigration){
		"Completed": func(*v1alpha1.StatefulMigration) {},
		"Failed":    func(m *v1alpha1.StatefulMigration) { m.Spec.SourcePod.Name = "nobody" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start(nil)
			const ttl = 2 * time.Second
			w.create(change, func(m *v1alpha1.StatefulMigration) {
				m.Spec.TTLSecondsAfterFinished = ptr.To(int32(ttl.Seconds()))
			})
			w.create(change, func(m *v1alpha1.StatefulMigration) {
				m.Name, m.Spec.SourcePod.Name = "stays", "nobody"
			})
			m := w.phase(v1alpha1.MigrationPhase(name))
			w.eventually("it to be deleted", func() bool { return w.get("move") == nil })
			if early := time.Until(m.Status.EndedAt.Add(ttl)); early > 0 {
				t.Errorf("it was deleted %v before its time", early)
			}
			if other := w.get("stays"); other == nil || other.DeletionTimestamp != nil {
				t.Errorf("the one without a time to live: %+v", other)
			}
			w.clean()
		})
	}
}

// TestCancelAtEveryEffect deletes the object just before and just after an effect of
// the manager: the migration is as if it had never been, or finished. With
// everyEffect set in the environment no effect is left out.
func TestCancelAtEveryEffect(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(3, 4))
	for _, k := range []kind{standalone, sequential} {
		step, first := 3*k.replicas, []int{draw.IntN(3), draw.IntN(3)}
		if os.Getenv(everyEffect) != "" {
			step, first = 1, []int{0, 0}
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			whole := restart(t, k, nil)
			for i, side := range []failpoint.Side{failpoint.Before, failpoint.After} {
				for n := first[i]; n < len(whole.effects); n += step {
					t.Run(fmt.Sprintf("%s-%03d-%s", side, n+1, whole.effects[n].name), func(t *testing.T) {
						t.Parallel()
						cancel(t, k, death{whole.effects[n], side})
					})
				}
			}
		})
	}
}

// cancel deletes a migration at an effect of its manager.
func cancel(t *testing.T, k kind, at death) {
	t.Helper()
	w := newWorldOf(t, k)
	before := w.inventory(w.source.Name)
	var mu sync.Mutex
	nth, deleted := map[string]int{}, false
	w.start(func(e failpoint.Effect) bool {
		mu.Lock()
		defer mu.Unlock()
		if e.Side == failpoint.Before {
			nth[e.Name]++
		}
		if !deleted && e.Side == at.side && e.Name == at.name && nth[e.Name] == at.nth {
			deleted = true
			if err := kube.Delete(w.ctx, w.migration()); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
		return false
	})
	last := w.follow()
	w.create()
	w.eventually("the end", func() bool {
		mu.Lock()
		defer mu.Unlock()
		m, gone := last()
		return gone || !deleted && m != nil && m.Status.Phase == v1alpha1.PhaseCompleted && len(m.Finalizers) == 0
	})
	mu.Lock()
	if !deleted && at.nth == 1 { // how often something is done may differ from run to run
		t.Errorf("it had no %v: %v", at.occurrence, nth)
	}
	mu.Unlock()
	m, _ := last()
	w.mu.Lock()
	committed := len(w.commits) > 0
	w.mu.Unlock()
	w.eventually("one pod of each", func() bool { return len(w.pods()) == k.replicas })
	name := w.source.Name
	if committed {
		if pod := w.moved(m); pod != nil {
			name = pod.Name
		}
	} else {
		w.stayed()
	}
	w.clean()
	w.unchanged(before, name)
}

// follow follows the migration; last is how it was last, and whether it is gone.
func (w *world) follow() (last func() (m *v1alpha1.StatefulMigration, gone bool)) {
	w.t.Helper()
	watch, err := kube.Watch(w.ctx, &v1alpha1.StatefulMigrationList{}, client.InNamespace(w.namespace))
	w.must(err)
	w.t.Cleanup(watch.Stop)
	var mu sync.Mutex
	var seen *v1alpha1.StatefulMigration
	var gone bool
	go func() {
		for e := range watch.ResultChan() {
			if m, ok := e.Object.(*v1alpha1.StatefulMigration); ok {
				mu.Lock()
				seen, gone = m, e.Type == kwatch.Deleted
				mu.Unlock()
			}
		}
	}()
	return func() (*v1alpha1.StatefulMigration, bool) {
		mu.Lock()
		defer mu.Unlock()
		return seen, gone
	}
}
