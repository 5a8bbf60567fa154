package migration_test

import (
	"flag"
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
	"ms2m.dev/ms2m/internal/owner"
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
	ahead := migration.Ahead(plan.Action)
	switch {
	case how == diesBeforeTheRecord && !ahead || how == diesBeforeTheEffect && ahead:
		w.crash()
		return false
	case ahead:
		w.act(plan.Action)
	}
	if how == diesBeforeTheRecord {
		w.crash()
		return false
	}
	before, after := w.object.Status, plan.Status
	again := after.Phase == v1alpha1.PhaseCheckpointing && after.Attempt >= before.Attempt || after.Hop > before.Hop ||
		w.sequential() && after.Phase == v1alpha1.PhaseRestoring
	if rank(after.Phase) < rank(before.Phase) && !again {
		w.violated("the phase went back from %s to %s", before.Phase, after.Phase)
	}
	w.object.Status = plan.Status
	w.keepsLimits(before, plan)
	switch {
	case plan.Ended:
		return true
	case how == diesBeforeTheEffect:
		w.crash()
		return false
	}
	if plan.Action != nil && !ahead {
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
	w.turnOwner()
	w.settleNodes()
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
	case w.frozen || w.failing != nil:
		w.answer()
	default:
		w.freeze()
	}
	w.settleInstances()
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
		l.Status.Image = &v1alpha1.CheckpointImage{Reference: fmt.Sprintf("%s-%s-%d", reference, short(w.id()), l.Spec.Attempt), Digest: "sha256:00"}
		w.images[l.Status.Image.Reference] = true
	case l.Spec.Direction == v1alpha1.TransferFetch:
	case l.Spec.Direction == v1alpha1.TransferStage:
		w.restore(l)
	default:
		clear(w.archives)
	}
	meta.SetStatusCondition(&l.Status.Conditions, c)
}

// restore lets a copy wake in the pod that a checkpoint was staged for.
func (w *world) restore(l *v1alpha1.CheckpointTransfer) {
	p := w.pods[l.Spec.PodName]
	if p == nil || p.UID != l.Spec.PodUID || w.instances[p.UID] != nil {
		return // laid out for nobody
	}
	if !w.images[l.Spec.Image] {
		w.violated("an image is staged that is not there: %s", l.Spec.Image)
	}
	in := &instancetest.Instance{Sequential: w.sequential(), Status: handover.Status{
		PodUID: string(p.UID), State: handover.Restored, Migration: w.id(), Attempt: int(l.Spec.Attempt), Queue: "orders",
		Identity: handover.IdentityMessageID, OwnerOnly: w.ownerOnly, Decision: w.decisions[w.id()],
	}}
	if w.badImage && !w.sequential() {
		in.State, in.Reason, w.badImage = handover.Void, handover.ReasonNotPaused, false
	}
	w.instances[p.UID] = in
	w.runs(p)
}

// say lets the instances report unasked.
func (w *world) say() {
	for _, role := range []migration.Role{migration.RoleSource, migration.RoleTarget} {
		if role == migration.RoleSource && w.frozen {
			continue
		}
		if in := w.instance(role); in != nil && w.sent[role][handover.Hello].At != (time.Time{}) {
			r := in.Report(handover.ReportProgress, "")
			w.heard[w.uid(role)] = &r
		}
	}
}

// late has misfortunes begin later, so that the way back has some, too.
var late = flag.Bool("late", false, "let some turns pass before the first misfortune")

// TestWhateverHappens lets managers die at any point of any step, legs fail,
// instances give up, processes and pods be lost, and the object be deleted, in any
// order. Then it lets the world be: the migration must end, with one owner of
// the state, and nothing left behind.
func TestWhateverHappens(t *testing.T) {
	for _, kind := range []struct {
		name     string
		owner    owner.Kind
		strategy v1alpha1.Strategy
	}{
		{"standalone", owner.Standalone, v1alpha1.StrategyAuto},
		{"ReplicaSet", owner.ReplicaSet, v1alpha1.StrategyAuto},
		{"StatefulSet, Shadow", owner.StatefulSet, v1alpha1.StrategyShadow},
		{"StatefulSet, Sequential", owner.StatefulSet, v1alpha1.StrategySequential},
	} {
		t.Run(kind.name, func(t *testing.T) {
			ends := map[v1alpha1.MigrationPhase]int{}
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(kind.owner, kind.strategy, rapid.Bool().Draw(t, "owner only"))
				w.limit(t)
				ended := *late && w.quiet(rapid.IntRange(0, 6).Draw(t, "tens of quiet turns")*10)
				for i := range rapid.IntRange(0, 120).Draw(t, "turns") {
					if ended = ended || w.misfortune(t, i); ended {
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
		})
	}
}

func (w *world) misfortune(t *rapid.T, i int) (ended bool) {
	rarely := func() bool { return rapid.IntRange(0, 9).Draw(t, "one of ten") == 0 }
	switch rapid.SampledFrom([]string{
		"step", "step", "step", "step", "step", "step", "step", "step", "die", "turn", "turn", "turn", "turn", "say", "say", "time", "fail", "source", "target",
		"delete", "changed", "kubelet", "drain", "crash", "bad image", "blind", "busy", "vain",
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
		if rarely() {
			w.giveUp(w.pod(migration.RoleSource))
		}
	case "target":
		if rarely() {
			w.giveUp(w.pod(migration.RoleTarget))
		}
	case "crash":
		if rarely() {
			role := rapid.SampledFrom([]migration.Role{migration.RoleSource, migration.RoleTarget}).Draw(t, "role")
			w.lose(w.pod(role), rapid.Bool().Draw(t, "with its pod"))
		}
	case "vain":
		w.despair(w.pod(migration.RoleTarget))
	case "blind":
		w.blind = true
	case "busy":
		w.busy = !w.busy
	case "bad image":
		w.badImage = true
	case "changed":
		w.changing = true
	case "kubelet":
		w.failing = migration.Passing(migration.ReasonCheckpointFailed, errTest)
	case "drain":
		if source := w.instance(migration.RoleSource); source != nil {
			source.RefusePrepare, source.RefuseFreeze = 1, 1
		}
	case "delete":
		if w.object.DeletionTimestamp == nil && rarely() {
			at := metav1.NewTime(w.now)
			w.object.DeletionTimestamp = &at
		}
	}
	return false
}

// quiet lets everything run for some turns without misfortune.
func (w *world) quiet(turns int) (ended bool) {
	for range turns {
		ended = w.step(goesOn)
		w.turn(false)
		if ended {
			return true
		}
		w.say()
		w.now = w.now.Add(300 * time.Millisecond)
	}
	return false
}

// calm lets everything run without misfortune until the migration has ended. That
// may take as long as finalizing and what follows may at most, 15 minutes, and before it
// as long as a container that has started anew under a hold waits for its end.
func (w *world) calm(t *rapid.T) {
	w.blind, w.badImage, w.changing, w.busy, w.failing = false, false, false, false, nil
	for end := w.now.Add(20*time.Minute + w.holdFor); w.now.Before(end); {
		if w.quiet(1) {
			w.verify(t)
			return
		}
		if w.wrong != "" {
			t.Fatalf("%s\n%s", w.wrong, w)
		}
	}
	t.Fatalf("it does not end\n%s", w)
}

// uncovered reports whether two processes were lost in a Sequential migration: the
// source's, and that of the copy which took over for it, before it was heard to be live.
// The state is gone with them. What starts in the owner's next pod then is not
// seen through to its end (docs/owners.md): it may wait for the hold until the hold's
// time is over, and keep the marks.
func (w *world) uncovered() bool {
	return w.crashed && w.sequential() && meta.IsStatusConditionTrue(w.object.Status.Conditions, v1alpha1.ConditionTakeover)
}

// verify checks how a migration has ended: one pod of the service, which its
// owner has, with the state, unless that was lost with a process.
func (w *world) verify(t *rapid.T) {
	if w.wrong != "" {
		t.Fatalf("%s\n%s", w.wrong, w)
	}
	if lost := len(w.pods) == 0 && w.kind == owner.Standalone && w.crashed; len(w.pods) != 1 && !lost {
		t.Fatalf("the pods are %v\n%s", slices.Sorted(maps.Keys(w.pods)), w)
	}
	if w.uncovered() {
		return
	}
	for name, p := range w.pods {
		in := w.instances[p.UID]
		ref := metav1.GetControllerOf(p)
		switch {
		case in == nil || in.State != handover.Live && (!w.crashed || in.State != handover.Held):
			t.Fatalf("nobody is live in %s\n%s", name, w)
		case !w.crashed && w.state != p.UID:
			t.Fatalf("the pod %s does not have the state\n%s", name, w)
		case w.kind == owner.StatefulSet && name != counter, (w.kind != owner.Standalone) != (ref != nil):
			t.Fatalf("the pod %s does not belong to its owner: %v\n%s", name, ref, w)
		case p.Labels[v1alpha1.LabelMigration] != "", p.Annotations[corev1.PodDeletionCost] != "":
			t.Fatalf("the pod %s keeps marks: %v %v\n%s", name, p.Labels, p.Annotations, w)
		case w.object.Status.Phase == v1alpha1.PhaseCompleted && !w.crashed && (w.born < 2 || p.Spec.NodeName != "node-b"):
			t.Fatalf("completed, but the pod %s is on %s\n%s", name, p.Spec.NodeName, w)
		}
	}
	w.verifyEnd(t)
	if len(w.holds)+len(w.queues)+len(w.decisions)+len(w.images)+len(w.legs)+len(w.archives) > 0 || w.object.Status.Placement != nil {
		t.Fatalf("something is left behind\n%s", w)
	}
}

func (w *world) String() string {
	st := w.object.Status
	s := fmt.Sprintf("%s %s, phase %s, hop %d, attempt %d, decisions %v, holds %v, queues %v, images %v, archives %v, legs %v, state in %q, crashed %t\n",
		w.kind, st.Strategy, st.Phase, st.Hop, st.Attempt, w.decisions, w.holds, w.queues, w.images, w.archives, slices.Sorted(maps.Keys(w.legs)), w.state, w.crashed)
	for _, c := range st.Conditions {
		s += fmt.Sprintf("  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, h := range st.Hops {
		s += fmt.Sprintf("  hop %d: %s, %s → %s\n", h.Hop, h.Result, h.SourcePodName, h.TargetPodName)
	}
	for name, p := range w.pods {
		s += fmt.Sprintf("  pod %s %s on %q, labels %v, annotations %v, placement %v: ", name, p.UID, p.Spec.NodeName, p.Labels, p.Annotations, st.Placement)
		if in := w.instances[p.UID]; in != nil {
			s += fmt.Sprintf("%s of %s attempt %d epoch %d %s at end %t", in.State, in.Migration, in.Attempt, in.Epoch, in.Decision, in.AtEnd)
		}
		s += "\n"
	}
	plan := migration.Next(w.facts())
	return s + fmt.Sprintf("next: %s, waiting for %q until %v (now %v)", nameOf(plan), plan.For, plan.Until, w.now)
}
