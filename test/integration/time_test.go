package integration

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestEveryDeadline lets each phase's deadline pass, and that of the whole in each phase:
// the source is left as it was. What the planner does at each is in internal/migration.
func TestEveryDeadline(t *testing.T) {
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
			deadlines["whole"] = func(m *v1alpha1.StatefulMigration) {
				const long = 86400
				m.Spec.Deadlines = v1alpha1.Deadlines{TotalSeconds: 3600, CheckpointSeconds: long, TransferSeconds: long, RestoreSeconds: long, ReplaySeconds: long, FinalizeSeconds: long}
			}
			want["whole"] = [2]string{"DeadlineExceeded", "deadlines.totalSeconds (3600), in the phase " + string(phase)}
		}
		for name, set := range deadlines {
			t.Run(fmt.Sprintf("%s-%s", phase, name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				before := w.inventory(w.source.Name)
				w.mu.Lock()
				stop(w)
				w.mu.Unlock()
				later := w.startTimed()
				w.create(set)
				if name == "whole" {
					w.phase(phase)
					later(time.Hour)
				}
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
	later := w.startTimed()
	w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.TotalSeconds = 600 })
	w.eventually("COMMIT", func() bool { return meta.IsStatusConditionTrue(w.see().Status.Conditions, v1alpha1.ConditionCommitted) })
	later(10 * time.Minute)
	w.eventually("what tells of it", func() bool { return meta.IsStatusConditionTrue(w.see().Status.Conditions, v1alpha1.ConditionOverdue) })
	if m := w.see(); !meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionCommitted) || m.Status.Phase != v1alpha1.PhaseFinalizing {
		t.Errorf("phase %s, %+v", m.Status.Phase, m.Status.Conditions)
	}
	stay("null")
	w.moved(w.phase(v1alpha1.PhaseCompleted))
	w.clean()
}

// ahead is a clock that can be put forward.
type ahead struct {
	clock.RealClock
	by atomic.Int64
}

func (a *ahead) Now() time.Time                  { return a.RealClock.Now().Add(time.Duration(a.by.Load())) }
func (a *ahead) Since(t time.Time) time.Duration { return a.Now().Sub(t) }

// startTimed starts a manager whose clock later puts forward. The migration is
// touched, since the manager's alarms go by the real time.
func (w *world) startTimed() (later func(time.Duration)) {
	w.t.Helper()
	c := &ahead{}
	w.start(nil, func(r *controller.Reconciler) { r.Clock = c })
	return func(d time.Duration) {
		c.by.Add(int64(d))
		touch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"test.ms2m.dev/touched":"yes"}}}`))
		w.must(kube.Patch(w.ctx, w.migration(), touch))
	}
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
