package migration_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// ends are the ways in which a process of the manager can end a step.
const (
	goesOn = iota
	diesBeforeTheRecord
	diesBeforeTheEffect
	diesAfterTheEffect
	ways
)

// step lets the manager plan and act once, or die on the way.
func (w *world) step(how int) (ended bool) {
	if !w.claimed {
		w.object.Status.Epoch++
		w.claimed = true
	}
	plan := migration.Next(w.facts())
	if how == diesBeforeTheRecord {
		w.crash()
		return false
	}
	again := plan.Status.Phase == v1alpha1.PhaseCheckpointing && plan.Status.Attempt >= w.object.Status.Attempt
	if before, after := w.object.Status.Phase, plan.Status.Phase; rank(after) < rank(before) && !again {
		w.violated("the phase went back from %s to %s", before, after)
	}
	w.object.Status = plan.Status
	switch {
	case plan.Ended:
		return true
	case how == diesBeforeTheEffect:
		w.crash()
		return false
	}
	if plan.Action != nil {
		w.act(plan.Action)
	}
	if how == diesAfterTheEffect {
		w.crash()
	}
	return false
}

func rank(p v1alpha1.MigrationPhase) int {
	for i, q := range []v1alpha1.MigrationPhase{
		"", v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
		v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing, v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed,
	} {
		if p == q {
			return i
		}
	}
	return -1
}

// turn lets the rest of the world do what it can. failing legs fail.
func (w *world) turn(failing bool) {
	if w.targetPod != nil && w.targetPod.Spec.NodeName == "" {
		w.targetPod.Spec.NodeName = "node-b"
		w.targetPod.Status.Phase = corev1.PodRunning
	}
	for _, name := range slices.Sorted(maps.Keys(w.legs)) {
		switch l := w.legs[name]; {
		case l.DeletionTimestamp != nil:
			delete(w.archives, l.Spec.Archive)
			delete(w.legs, name)
		case len(l.Status.Conditions) == 0:
			w.do(l, failing)
		}
	}
	switch {
	case w.calling == nil:
	case w.dumped || w.failing != nil:
		w.answer()
	default:
		w.dump()
	}
	if w.target != nil && w.source != nil && w.target.State == handover.Replaying {
		w.target.Number = w.source.Confirmed
	}
	w.settle()
}

func (w *world) do(l *v1alpha1.CheckpointTransfer, failing bool) {
	c := metav1.Condition{Type: v1alpha1.TransferComplete, Status: metav1.ConditionTrue, Reason: "Done"}
	switch {
	case l.Spec.Direction == v1alpha1.TransferPush && l.Spec.Archive == w.spoilt:
		w.violated("%s is pushed: its memory and its files are of two moments", w.spoilt)
	case failing && l.Spec.Direction != v1alpha1.TransferSweep:
		c.Status, c.Reason = metav1.ConditionFalse, "Failed"
	case l.Spec.Direction == v1alpha1.TransferThaw:
		c.Type = v1alpha1.TransferReady
	case l.Spec.Direction == v1alpha1.TransferPush && !w.archives[l.Spec.Archive]:
		c.Status, c.Reason = metav1.ConditionFalse, "NotFound"
	case l.Spec.Direction == v1alpha1.TransferPush:
		l.Status.Image = &v1alpha1.CheckpointImage{Reference: reference + fmt.Sprint(l.Spec.Attempt), Digest: "sha256:00"}
		w.images[l.Status.Image.Reference] = true
	case l.Spec.Direction == v1alpha1.TransferStage && w.targetPod == nil: // laid out for nobody
	case l.Spec.Direction == v1alpha1.TransferStage:
		w.target = &instancetest.Instance{Status: handover.Status{
			PodUID: targetUID, State: handover.Restored, Migration: uid, Attempt: int(l.Spec.Attempt), Queue: "orders",
		}}
		if w.badImage {
			w.target.State, w.target.Reason, w.badImage = handover.Void, handover.ReasonNotPaused, false
		}
	default:
		clear(w.archives)
	}
	meta.SetStatusCondition(&l.Status.Conditions, c)
}

// settle lets the instances decide among themselves.
func (w *world) settle() {
	if w.target != nil && w.target.State == handover.Replaying && w.target.Fence != nil {
		if alive := w.source != nil && w.source.State != handover.Held; alive {
			w.violated("TAKEOVER while the source lives: it is %s", w.source.State)
		}
		if w.decision == handover.Undecided {
			w.decision = handover.Commit
		}
		w.target.Obey(w.decision)
		if w.source != nil {
			w.source.Obey(w.decision)
		}
	}
	if w.source == nil || w.target == nil || w.source.State != handover.Frozen || w.target.State != handover.Replaying {
		return
	}
	if w.decision == handover.Undecided {
		w.decision = handover.Commit
	}
	w.target.Obey(w.decision)
	w.source.Obey(w.decision)
}

// giveUp lets an instance lose its patience: it writes ABORT, and obeys.
func (w *world) giveUp(in *instancetest.Instance) {
	if in == nil || in.State == handover.Live || in.State == handover.Retired || in.State == handover.Void {
		return
	}
	if w.decision == handover.Undecided {
		w.decision = handover.Aborted
	}
	in.Obey(w.decision)
}

// lose ends the source's process: a fresh one starts in its pod, under the
// hold if there is one, or the pod goes with it.
func (w *world) lose(pod bool) {
	if w.source == nil {
		return
	}
	if pod {
		w.source, w.sourcePod = nil, nil
		return
	}
	fresh := &instancetest.Instance{Status: handover.Status{
		PodUID: sourceUID, State: handover.Live, Queue: "orders", Identity: handover.IdentityMessageID,
	}}
	if w.holds {
		fresh.State, fresh.Migration = handover.Held, uid
		fresh.Obey(w.decision)
	}
	w.source = fresh
}

// say lets the instances report unasked.
func (w *world) say() {
	for _, role := range []migration.Role{migration.RoleSource, migration.RoleTarget} {
		if in := w.instance(role); in != nil && w.sent[role][handover.Hello].At != (time.Time{}) {
			r := in.Report(handover.ReportProgress, "")
			w.heard[role] = &r
		}
	}
}

// TestWhateverHappens lets managers die at any point of any step, legs fail,
// instances give up and the object be deleted, in any order. Then it lets the
// world be: the migration must end, with one owner of the state, and nothing
// left behind.
func TestWhateverHappens(t *testing.T) {
	ends := map[v1alpha1.MigrationPhase]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for i := range rapid.IntRange(0, 80).Draw(t, "turns") {
			if ended := w.misfortune(t, i); ended {
				break
			}
			if w.wrong != "" {
				t.Fatalf("%s\n%s", w.wrong, w)
			}
		}
		w.calm(t)
		ends[w.object.Status.Phase]++
	})
	for _, phase := range []v1alpha1.MigrationPhase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed} {
		if ends[phase] == 0 {
			t.Errorf("no migration has ended %s: %v", phase, ends)
		}
	}
}

func (w *world) misfortune(t *rapid.T, i int) (ended bool) {
	switch rapid.SampledFrom([]string{
		"step", "step", "step", "step", "step", "step", "die", "turn", "turn", "turn", "say", "time", "fail", "source", "target", "delete", "changed", "kubelet", "drain", "crash", "bad image",
	}).Draw(t, fmt.Sprintf("event %d", i)) {
	case "step":
		return w.step(goesOn)
	case "die":
		return w.step(rapid.IntRange(1, ways-1).Draw(t, "how"))
	case "turn":
		w.turn(false)
	case "fail":
		w.turn(rapid.IntRange(0, 5).Draw(t, "one of six") == 0)
	case "say":
		w.say()
	case "time":
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "milliseconds")) * time.Millisecond)
	case "source":
		if rapid.IntRange(0, 9).Draw(t, "one of ten") == 0 {
			w.giveUp(w.source)
		}
	case "target":
		if rapid.IntRange(0, 9).Draw(t, "one of ten") == 0 {
			w.giveUp(w.target)
		}
	case "crash":
		if rapid.IntRange(0, 5).Draw(t, "one of six") == 0 {
			w.lose(rapid.Bool().Draw(t, "with its pod"))
		}
	case "bad image":
		w.badImage = true
	case "changed":
		w.changing = true
	case "kubelet":
		w.failing = migration.Passing(migration.ReasonCheckpointFailed, errTest)
	case "drain":
		if w.source != nil {
			w.source.RefusePrepare, w.source.RefuseFreeze = 1, 1
		}
	case "delete":
		if w.object.DeletionTimestamp == nil && rapid.IntRange(0, 9).Draw(t, "one of ten") == 0 {
			at := metav1.NewTime(w.now)
			w.object.DeletionTimestamp = &at
		}
	}
	return false
}

// calm lets everything run without misfortune until the migration has ended.
func (w *world) calm(t *rapid.T) {
	for range 500 {
		if w.step(goesOn) {
			w.verify(t)
			return
		}
		w.turn(false)
		w.say()
		w.now = w.now.Add(300 * time.Millisecond)
		if w.wrong != "" {
			t.Fatalf("%s\n%s", w.wrong, w)
		}
	}
	t.Fatalf("it does not end\n%s", w)
}

// verify checks how a migration has ended.
func (w *world) verify(t *rapid.T) {
	completed := w.object.Status.Phase == v1alpha1.PhaseCompleted
	switch {
	case completed && (w.sourcePod != nil || w.target == nil || w.target.State != handover.Live):
		t.Fatalf("completed, but\n%s", w)
	case !completed && (w.targetPod != nil || w.sourcePod != nil && w.source.State != handover.Live):
		t.Fatalf("failed, but\n%s", w)
	case w.holds || w.queue || w.decision != "" || len(w.images) > 0 || len(w.legs) > 0 || len(w.archives) > 0:
		t.Fatalf("something is left behind\n%s", w)
	}
}

func (w *world) String() string {
	s := fmt.Sprintf("phase %s, attempt %d, decision %q, holds %v, queue %v, images %v, archives %v, legs %d\n",
		w.object.Status.Phase, w.object.Status.Attempt, w.decision, w.holds, w.queue, w.images, w.archives, len(w.legs))
	for _, c := range w.object.Status.Conditions {
		s += fmt.Sprintf("  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, in := range []*instancetest.Instance{w.source, w.target} {
		if in != nil {
			s += fmt.Sprintf("  %s: %s attempt %d epoch %d %s\n", in.PodUID, in.State, in.Attempt, in.Epoch, in.Decision)
		}
	}
	plan := migration.Next(w.facts())
	return s + fmt.Sprintf("next: %s, waiting for %q until %v (now %v)", nameOf(plan), plan.For, plan.Until, w.now)
}
