package migration_test

import (
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// world is everything but the planner: the object as it is stored, pods,
// instances, nodes and broker, and one process of the manager at a time.
type world struct {
	now    time.Time
	object *v1alpha1.StatefulMigration

	sourcePod, targetPod *corev1.Pod
	source, target       *instancetest.Instance
	targetsMade          int
	lastTarget           string
	badImage             bool // the next copy wakes outside the safe point
	legs                 map[string]*v1alpha1.CheckpointTransfer
	archives             map[string]bool
	images               map[string]bool
	calls                int
	failing              *migration.Error // of the next call of the kubelet
	dumped               bool             // by the call under way
	changing             bool             // files change after the next dump
	spoilt               string           // an archive that must not be used

	decision                 handover.Decision
	holds, queue, queueEnded bool

	process
	wrong string // an invariant that did not hold
}

// process is what a process of the manager remembers.
type process struct {
	claimed    bool
	sent       map[migration.Role]map[handover.CommandKind]migration.Sent
	heard      map[migration.Role]*handover.Report
	calling    *migration.CheckpointResult // what the kubelet will answer
	checkpoint *migration.CheckpointResult
	decision   migration.Verdict
	done       map[migration.Step]bool
	failure    *migration.Error
}

func newWorld() *world {
	w := &world{now: now, object: object(""), legs: map[string]*v1alpha1.CheckpointTransfer{}, archives: map[string]bool{}, images: map[string]bool{}}
	w.object.Status = v1alpha1.StatefulMigrationStatus{}
	w.sourcePod = pod("counter", sourceUID, "node-a")
	w.source = &instancetest.Instance{Status: handover.Status{
		PodUID: sourceUID, State: handover.Live, Queue: "orders", Identity: handover.IdentityMessageID,
	}}
	w.crash()
	return w
}

// crash ends the process; the next one remembers nothing.
func (w *world) crash() {
	w.process = process{
		sent: map[migration.Role]map[handover.CommandKind]migration.Sent{
			migration.RoleSource: {}, migration.RoleTarget: {},
		},
		heard: map[migration.Role]*handover.Report{}, done: map[migration.Step]bool{},
	}
}

func (w *world) violated(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

func (w *world) facts() migration.Facts {
	f := migration.Facts{
		Now: w.now, Policy: migration.DefaultPolicy(), Object: w.object.DeepCopy(),
		Source:    migration.Instance{Pod: w.sourcePod, Report: w.heard[migration.RoleSource], Sent: w.sent[migration.RoleSource]},
		Target:    migration.Instance{Pod: w.targetPod, Report: w.heard[migration.RoleTarget], Sent: w.sent[migration.RoleTarget]},
		Transfers: len(w.legs), Decision: w.process.decision, Calling: w.calling != nil, Checkpoint: w.checkpoint, Failure: w.failure, Done: w.done,
		Preflight: &migration.Preflight{
			Nodes: []corev1.Node{node("node-a"), node("node-b")}, RuntimeClass: true,
			Agents: map[string]bool{"node-a": true, "node-b": true}, Queue: &migration.Queue{Consumers: 1},
		},
	}
	for _, l := range w.legs {
		if l.Spec.Attempt != w.object.Status.Attempt {
			continue
		}
		switch l.Spec.Direction {
		case v1alpha1.TransferThaw:
			f.Thaw = l
		case v1alpha1.TransferPush:
			f.Push = l
		case v1alpha1.TransferStage:
			f.Stage = l
		case v1alpha1.TransferSweep:
			f.Sweep = l
		}
	}
	return f
}

// act does an action, and checks what must hold when it is done.
func (w *world) act(a migration.Action) {
	st := w.object.Status
	if s, ok := a.(migration.Send); w.calling != nil && (!ok || s.Command.Kind != handover.Resume && s.Command.Kind != handover.Hello) {
		w.violated("%s while the kubelet is being called", migration.Name(a))
	}
	switch a := a.(type) {
	case migration.Send:
		w.send(a)
	case migration.SetHolds:
		w.holds, w.done[migration.StepHolds] = true, true
	case migration.CreateReplayQueue:
		if w.queueEnded || st.Attempt > 0 && !w.queue {
			w.violated("the replay queue was made anew")
		}
		w.queue, w.done[migration.StepReplayQueue] = true, true
	case migration.ReadDecision:
		w.learn()
	case migration.WriteAbort:
		if w.decision == handover.Undecided {
			w.decision = handover.Aborted
		}
		w.learn()
	case migration.Checkpoint:
		w.takeCheckpoint(a)
	case migration.CreateTransfer:
		if w.legs[a.Name] == nil {
			l := leg("", "", "")
			l.Name, l.Spec, l.CreationTimestamp = a.Name, a.Spec, metav1.NewTime(w.now)
			w.legs[a.Name] = l
		}
	case migration.VerifyImage:
		w.done[migration.StepImageVerified(a.Reference)] = true
	case migration.CreateTarget:
		if w.targetPod == nil {
			w.targetsMade++
			w.targetPod = a.Pod.DeepCopy()
			w.targetPod.UID = types.UID(targetUID)
			if w.targetPod.Name == w.lastTarget {
				w.violated("the target of attempt %d has the name of one before", st.Attempt)
			}
			w.lastTarget = w.targetPod.Name
		}
		if w.targetsMade > int(st.Attempt) {
			w.violated("%d targets were made in attempt %d", w.targetsMade, st.Attempt)
		}
	case migration.DeletePod:
		w.deletePod(a)
	case migration.DeleteTransfers:
		for _, l := range w.legs {
			at := metav1.NewTime(w.now)
			l.DeletionTimestamp = &at
		}
		w.done[migration.StepTransfersDeleted] = true
	case migration.DeleteReplayQueue:
		if meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionCommitted) == nil {
			w.violated("the replay queue was deleted before the decision was recorded")
		}
		w.queue, w.queueEnded, w.done[migration.StepReplayQueueGone] = false, true, true
	case migration.DeleteImage:
		delete(w.images, a.Reference)
		w.done[migration.StepImageDeleted(a.Reference)] = true
	case migration.RemoveMarks:
		if w.source != nil && w.source.State == handover.Held && w.decision == handover.Aborted {
			w.source.State = handover.Live // it finds no hold any more
		}
		if w.sourcePod != nil && w.source.State != handover.Live {
			w.violated("the marks were removed while the source was %s", w.source.State)
		}
		if w.targetPod != nil && w.target != nil && w.target.State != handover.Live {
			w.violated("the marks were removed while the target was %s", w.target.State)
		}
		w.holds, w.decision, w.done[migration.StepMarksRemoved] = false, "", true
	default:
		w.violated("an unknown action: %T in %s", a, st.Phase)
	}
}

func (w *world) instance(role migration.Role) *instancetest.Instance {
	if role == migration.RoleTarget {
		return w.target
	}
	return w.source
}

func (w *world) send(a migration.Send) {
	in, kind := w.instance(a.Role), a.Command.Kind
	first := w.now
	if before, ok := w.sent[a.Role][kind]; ok && before.Attempt == int32(a.Command.Attempt) {
		first = before.First
	}
	s := migration.Sent{First: first, At: w.now, Attempt: int32(a.Command.Attempt), NoInstance: in == nil || in.Mute}
	if kind == handover.Resume && w.calling != nil {
		if w.dumpedBy(w.calling.Attempt) {
			w.calling.Resumed = true
		} else {
			w.violated("RESUME before the process was dumped")
		}
	}
	if !s.NoInstance {
		if kind == handover.Prepare && !w.queue {
			w.violated("PREPARE before the replay queue")
		}
		if newcomer := w.source != nil; kind == handover.TakeOver && newcomer != (a.Command.FencePodUID == "") {
			w.violated("TAKEOVER fences %q off", a.Command.FencePodUID)
		}
		answer := in.Take(a.Command, w.decision)
		w.heard[a.Role], s.Answer = &answer, &answer
	}
	sent := maps.Clone(w.sent[a.Role])
	sent[kind] = s
	w.sent[a.Role] = sent
}

func (w *world) learn() {
	w.process.decision = map[handover.Decision]migration.Verdict{
		handover.Undecided: migration.Undecided, handover.Commit: migration.Committed, handover.Aborted: migration.Aborted,
	}[w.decision]
}

// takeCheckpoint calls the kubelet, which dumps and answers in turns to come.
func (w *world) takeCheckpoint(a migration.Checkpoint) {
	if before := w.heard[migration.RoleSource].Status; before.State != handover.Paused || before.Attempt != int(a.Attempt) {
		w.violated("a checkpoint of a source that was %s in attempt %d", before.State, before.Attempt)
	}
	w.calls++
	w.checkpoint, w.dumped = nil, false
	w.calling = &migration.CheckpointResult{
		Attempt: a.Attempt, Called: w.now, Before: w.heard[migration.RoleSource].Status,
		Archive: fmt.Sprintf("checkpoint-%d.tar", w.calls),
	}
	w.archives[w.calling.Archive] = true // also if nobody lives to hear of it
}

// thaw is the leg that attends an attempt.
func (w *world) thaw(attempt int32) *v1alpha1.CheckpointTransfer {
	for _, l := range w.legs {
		if l.Spec.Direction == v1alpha1.TransferThaw && l.Spec.Attempt == attempt {
			return l
		}
	}
	return nil
}

func (w *world) dumpedBy(attempt int32) bool {
	l := w.thaw(attempt)
	return l != nil && meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.TransferDumped)
}

// dump lets CRIU dump the source. The agent says so, if it attends.
func (w *world) dump() {
	w.dumped = true
	if l := w.thaw(w.calling.Attempt); l != nil && meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.TransferReady) {
		meta.SetStatusCondition(&l.Status.Conditions, metav1.Condition{Type: v1alpha1.TransferDumped, Status: metav1.ConditionTrue, Reason: "Done"})
	}
}

// answer lets the kubelet answer, and the agent judge.
func (w *world) answer() {
	res := w.calling
	if res == nil {
		return
	}
	res.At, res.Err = w.now, w.failing
	if h := w.heard[migration.RoleSource]; h != nil {
		res.After = h.Status
	}
	if l := w.thaw(res.Attempt); l != nil && w.dumped && meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.TransferReady) {
		c := metav1.Condition{Type: v1alpha1.TransferComplete, Status: metav1.ConditionTrue, Reason: "Done"}
		if w.changing && !l.Spec.KeepFrozen {
			c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.TransferReasonChanged
			w.spoilt = res.Archive
		}
		meta.SetStatusCondition(&l.Status.Conditions, c)
	}
	w.calling, w.checkpoint, w.failing, w.changing = nil, res, nil, false
}

func (w *world) deletePod(a migration.DeletePod) {
	switch a.UID {
	case sourceUID:
		if w.decision != handover.Commit { // the marks go after it
			w.violated("the source was deleted without COMMIT")
		}
		w.sourcePod, w.source = nil, nil
	case targetUID:
		void := w.target != nil && w.target.Reason == handover.ReasonNotPaused
		if w.decision != handover.Aborted && !void {
			w.violated("the target was deleted without ABORT")
		}
		w.targetPod, w.target = nil, nil
		delete(w.heard, migration.RoleTarget) // the next copy has another pod
	default:
		w.violated("a stranger was deleted: %s", a.UID)
	}
}
