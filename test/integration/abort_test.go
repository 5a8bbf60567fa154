package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// failed waits for the failure, and checks its reason and that the message
// says what is expected of it.
func (w *world) failed(reason, message string) *v1alpha1.StatefulMigration {
	w.t.Helper()
	m := w.phase(v1alpha1.PhaseFailed)
	c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil || c.Reason != reason || !strings.Contains(c.Message, message) {
		w.t.Errorf("failed with %+v, want %s with %q", c, reason, message)
	}
	return m
}

// never lets the legs of a direction wait for ever.
func never() *outcome { return &outcome{} }

// stuck makes a migration stop in a phase.
var stuck = map[v1alpha1.MigrationPhase]func(*world){
	v1alpha1.PhasePending:       func(w *world) { w.instances[string(w.source.UID)].Mute = true },
	v1alpha1.PhaseCheckpointing: func(w *world) { w.holds[handover.PodSlot(w.namespace, "counter")] = handover.Hold{Migration: "other"} },
	v1alpha1.PhaseTransferring:  func(w *world) { w.transfer["Push"] = never },
	v1alpha1.PhaseRestoring:     func(w *world) { w.transfer["Stage"] = never },
	v1alpha1.PhaseReplaying: func(w *world) {
		w.wakes = func(_ string, in *instancetest.Instance) { in.Behind = 1000 }
		w.instances[string(w.source.UID)].Number = 1001
	},
	v1alpha1.PhaseFinalizing: func(w *world) { w.instances[string(w.source.UID)].RefuseFreeze = 1000 },
}

// TestDelete deletes the object in each phase before COMMIT: that cancels the
// migration, and leaves the source as if it had never been.
func TestDelete(t *testing.T) {
	t.Parallel()
	for phase, stop := range stuck {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mu.Lock()
			stop(w)
			w.mu.Unlock()
			w.start(nil)
			w.create()
			m := w.phase(phase)
			w.mu.Lock()
			w.instances[string(w.source.UID)].Mute = false
			delete(w.holds, handover.PodSlot(w.namespace, "counter"))
			w.mu.Unlock()
			w.must(kube.Delete(w.ctx, m))
			w.eventually("the object to go", func() bool { return w.get("move") == nil })
			w.eventually("the target to go", func() bool { return len(w.pods()) == 1 })
			w.stayed()
			w.clean()
		})
	}
}

// TestDeleteAfterCommit deletes the object when COMMIT stands: the migration
// is finished forward.
func TestDeleteAfterCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The source's pod stays for a moment, so that there is an "after COMMIT".
	w.must(kube.Get(w.ctx, client.ObjectKeyFromObject(w.source), w.source))
	w.source.Finalizers = []string{"test.ms2m.dev/stay"}
	w.must(kube.Update(w.ctx, w.source))
	w.start(nil)
	w.create()
	w.eventually("COMMIT", func() bool {
		m := w.get("move")
		return m != nil && meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionCommitted)
	})
	m := w.get("move")
	w.must(kube.Delete(w.ctx, m))
	// The manager deletes the pod at this moment: what is read may be old when it is written.
	w.must(kube.Patch(w.ctx, w.source, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
	w.eventually("the object to go", func() bool { return w.get("move") == nil })
	w.moved(m)
	w.clean()
}

// TestFailures ends migrations in all ways that leave the source live.
func TestFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare         func(*world)
		change          func(*v1alpha1.StatefulMigration)
		reason, message string
	}{
		"the kubelet fails again and again": {
			prepare: func(w *world) {
				for range 10 {
					w.checkpoints = append(w.checkpoints, func() error {
						return &kubelet.Error{Code: 500, Message: "criu failed: type DUMP errno 0", Temporary: true}
					})
				}
			},
			reason: "CheckpointFailed", message: "criu failed",
		},
		"the kubelet cannot checkpoint": {
			prepare: func(w *world) {
				w.checkpoints = append(w.checkpoints, func() error { return &kubelet.Error{Code: 404, Message: "not found"} })
			},
			reason: "CheckpointFailed", message: "404",
		},
		"the push fails": {
			prepare: func(w *world) { w.transfer["Push"] = func() *outcome { return &outcome{"Unauthorized", "401"} } },
			reason:  "Unauthorized", message: "push: 401",
		},
		"the staging fails": {
			prepare: func(w *world) { w.transfer["Stage"] = func() *outcome { return &outcome{"NoSpace", "disk full"} } },
			reason:  "NoSpace", message: "stage: disk full",
		},
		"the push never ends": {
			prepare: func(w *world) { w.transfer["Push"] = never },
			change:  func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.TransferSeconds = 1 },
			reason:  "DeadlineExceeded", message: "deadlines.transferSeconds",
		},
		"every copy wakes void": {
			prepare: func(w *world) {
				w.wakes = func(_ string, in *instancetest.Instance) {
					in.State, in.Reason = handover.Void, handover.ReasonNotPaused
				}
			},
			reason: "NotPaused", message: "woke outside the safe point",
		},
		"the copy is mute": {
			prepare: func(w *world) { w.wakes = func(_ string, in *instancetest.Instance) { in.Mute = true } },
			// Long enough for the pod to be there on a busy machine.
			change: func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.RestoreSeconds = 15 },
			reason: "DeadlineExceeded", message: "has not answered",
		},
		"the source is never drained for END_REPLAY": {
			prepare: func(w *world) { w.instances[string(w.source.UID)].RefuseFreeze = 1000 },
			change:  func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.FinalizeSeconds = 5 },
			reason:  "DeadlineExceeded", message: "refused FREEZE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mu.Lock()
			test.prepare(w)
			w.mu.Unlock()
			w.start(nil)
			w.create(func(m *v1alpha1.StatefulMigration) {
				if test.change != nil {
					test.change(m)
				}
			})
			w.failed(test.reason, test.message)
			w.eventually("the target to go", func() bool { return len(w.pods()) == 1 })
			w.stayed()
			w.clean()
		})
	}
}

// TestSecondAttempt takes a second checkpoint when the first one fails in a
// way that may pass, and when the source could not drain in time.
func TestSecondAttempt(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*world){
		"kubelet": func(w *world) {
			w.checkpoints = append(w.checkpoints, func() error {
				return &kubelet.Error{Message: "connection refused", Temporary: true}
			})
		},
		"bad image": func(w *world) {
			bad := true
			w.wakes = func(_ string, in *instancetest.Instance) {
				if bad {
					in.State, in.Reason, bad = handover.Void, handover.ReasonNotPaused, false
				}
			}
		},
		"drain": func(w *world) { w.instances[string(w.source.UID)].RefusePrepare = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mu.Lock()
			prepare(w)
			w.mu.Unlock()
			w.start(nil)
			w.create()
			m := w.phase(v1alpha1.PhaseCompleted)
			if m.Status.Attempt != 2 {
				t.Errorf("attempt %d, want 2", m.Status.Attempt)
			}
			w.moved(m)
			w.clean()
		})
	}
}

// TestTakeover loses the source's process while the copy replays.
func TestTakeover(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(w *world, m *v1alpha1.StatefulMigration) (fenced string){
		"the container was restarted": func(w *world, m *v1alpha1.StatefulMigration) string {
			w.mu.Lock()
			defer w.mu.Unlock()
			in := w.instances[string(w.source.UID)]
			in.State, in.Migration, in.Incarnation = handover.Held, string(m.UID), "another"
			return ""
		},
		"the pod is gone": func(w *world, _ *v1alpha1.StatefulMigration) string {
			w.mu.Lock()
			delete(w.instances, string(w.source.UID))
			w.mu.Unlock()
			w.must(kube.Delete(w.ctx, w.source, client.GracePeriodSeconds(0)))
			return string(w.source.UID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mu.Lock()
			stuck[v1alpha1.PhaseReplaying](w)
			w.mu.Unlock()
			w.start(nil)
			w.create()
			m := w.phase(v1alpha1.PhaseReplaying)
			fenced := lose(w, m)
			m = w.phase(v1alpha1.PhaseCompleted)
			if !meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionTakeover) {
				t.Errorf("nothing tells of a takeover: %+v", m.Status.Conditions)
			}
			w.mu.Lock()
			if f := w.instances[string(m.Status.TargetPodUID)].Fence; f == nil || *f != fenced {
				t.Errorf("fenced off %v, want %q", f, fenced)
			}
			w.mu.Unlock()
			w.moved(m)
			w.clean()
		})
	}
}

// TestCutoff freezes a source whose copy does not catch up.
func TestCutoff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mu.Lock()
	stuck[v1alpha1.PhaseReplaying](w)
	w.flowing = true
	w.mu.Unlock()
	// On a busy machine there are few samples in a shorter time.
	w.start(nil, func(r *controller.Reconciler) { r.Policy.Trend = time.Second })
	w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.ReplayCutoffSeconds = 5 })
	m := w.phase(v1alpha1.PhaseCompleted)
	// As much arrives as is replayed, by the samples of one trend; the rate that
	// the copy gives may be higher.
	if c := m.Status.Cutoff; c == nil || c.Reason != migration.ReasonOutpaced && c.Reason != migration.ReasonCutoff ||
		c.LimitSeconds != 5 || c.LagMessages < 990 || c.ArrivalRate == "" || c.ReplayRate != "10.000" {
		t.Errorf("%+v", c)
	}
	w.clean()
}

// TestRetain leaves the image, and nothing else.
func TestRetain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.CheckpointRetention = v1alpha1.RetentionRetain })
	m := w.phase(v1alpha1.PhaseCompleted)
	want := fmt.Sprintf("image %s", m.Status.CheckpointImage.Reference)
	if left := w.traces(); len(left) != 1 || left[0] != want {
		t.Errorf("left behind %v, want %s", left, want)
	}
}
