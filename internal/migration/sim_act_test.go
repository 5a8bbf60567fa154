package migration_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// act does an action, and checks what must hold when it is done.
func (w *world) act(a migration.Action) {
	if w.calling != nil && !w.allowedInCall(a) {
		w.violated("%s while the kubelet is being called", migration.Name(a))
	}
	switch a := a.(type) {
	case migration.Send:
		w.send(a)
	case migration.Checkpoint:
		w.takeCheckpoint(a)
	case migration.CreateTransfer:
		if w.legs[a.Name] == nil {
			l := leg("", "", "")
			l.Name, l.Spec, l.CreationTimestamp = a.Name, a.Spec, metav1.NewTime(w.now)
			w.legs[a.Name] = l
		}
	case migration.Withdraw:
		w.act(a.Leg)
		at := metav1.NewTime(w.now)
		w.legs[a.Leg.Name].DeletionTimestamp = &at
		w.done[migration.StepWithdrawn(a.Pod)] = true
	case migration.VerifyImage:
		w.done[migration.StepImageVerified(a.Reference)] = true
	case migration.DeleteTransfers:
		for _, l := range w.legs {
			at := metav1.NewTime(w.now)
			l.DeletionTimestamp = &at
		}
		w.done[migration.StepTransfersDeleted] = true
	case migration.DeleteImage:
		w.kept("the image " + a.Reference)
		delete(w.images, a.Reference)
		w.done[migration.StepImageDeleted(a.Reference)] = true
	case migration.SetHolds, migration.CreateReplayQueue, migration.ReadDecision, migration.WriteAbort,
		migration.DeleteReplayQueues, migration.RemoveMarks:
		w.actAtBroker(a)
	default:
		w.actOnPod(a)
	}
}

// allowedInCall reports whether an action may be done while the kubelet is being called.
func (w *world) allowedInCall(a migration.Action) bool {
	switch a := a.(type) {
	case migration.Send:
		return a.Command.Kind == handover.Resume || a.Command.Kind == handover.Hello
	case migration.DeletePod: // makes room for the pod of the way back
		return w.object.Status.Hop > 1
	}
	return false
}

// kept notes a violation if the state is nowhere else than in what goes.
func (w *world) kept(what string) {
	if w.state == "" && !w.crashed {
		w.violated("%s goes while it holds the state", what)
	}
}

func (w *world) actAtBroker(a migration.Action) {
	switch a := a.(type) {
	case migration.SetHolds:
		keys := slices.Clone(a.Keys)
		for _, queue := range a.Queues {
			keys = append(keys, handover.QueueSlot(queue))
		}
		for _, key := range keys {
			if other := w.holds[key]; other != "" && other != a.Hold.Migration && key != handover.PodSlot("ns", counter) {
				w.violated("the key %s is held by %s", key, other)
				return
			}
			w.holds[key], w.holdFor = a.Hold.Migration, time.Duration(a.Hold.DeadlineMillis)*time.Millisecond
		}
		w.done[migration.StepHolds] = true
	case migration.CreateReplayQueue:
		if w.gone[a.Queue] || w.object.Status.Attempt > 0 && !w.queues[a.Queue] {
			w.violated("the replay queue was made anew")
		}
		w.queues[a.Queue], w.done[migration.StepReplayQueue] = true, true
	case migration.ReadDecision:
		w.learn()
	case migration.WriteAbort:
		w.write(w.id(), handover.Aborted)
		w.learn()
	case migration.DeleteReplayQueues:
		if meta.FindStatusCondition(w.object.Status.Conditions, v1alpha1.ConditionCommitted) == nil {
			w.violated("the replay queue was deleted before the decision was recorded")
		}
		w.kept("the replay queue")
		for _, q := range a.Queues {
			delete(w.queues, q)
			w.gone[q] = true
			w.done[migration.StepReplayQueueGone(q)] = true
		}
	case migration.RemoveMarks:
		w.removeMarks(a)
	}
}

func (w *world) removeMarks(a migration.RemoveMarks) {
	for _, m := range a.Marks {
		w.done[m.Step()] = true
		for _, key := range m.Keys {
			if w.holds[key] == m.Handover {
				delete(w.holds, key)
			}
		}
		if m.KeepDecision {
			continue
		}
		for _, in := range w.instances {
			switch {
			case in.Migration != m.Handover:
			case in.State == handover.Live, in.State == handover.Held, in.State == handover.Void:
			case in.State == handover.Retired && w.crashed && w.instances[w.state] == nil: // the state is nowhere: who starts anew may begin
			default:
				w.violated("the marks of %s were removed while an instance was %s", m.Handover, in.State)
			}
		}
		delete(w.decisions, m.Handover)
	}
}

func (w *world) learn() {
	w.process.decision = map[handover.Decision]migration.Verdict{
		handover.Undecided: migration.Undecided, handover.Commit: migration.Committed, handover.Aborted: migration.Aborted,
	}[w.decisions[w.id()]]
}

func (w *world) send(a migration.Send) {
	in, kind := w.instance(a.Role), a.Command.Kind
	if a.Command.Migration != w.id() {
		w.violated("%s of the hand-over %s", kind, a.Command.Migration)
	}
	first := w.now
	if before, ok := w.sent[a.Role][kind]; ok && before.Attempt == int32(a.Command.Attempt) {
		first = before.First
	}
	s := migration.Sent{First: first, At: w.now, Attempt: int32(a.Command.Attempt), PaceMillis: a.Command.PaceMillis, NoInstance: in == nil || in.Mute}
	if kind == handover.Resume && w.calling != nil {
		if !w.frozen {
			w.violated("RESUME before the source was frozen")
		}
		w.calling.Resumed = true
	}
	switch {
	case s.NoInstance:
	case w.frozen && a.Role == migration.RoleSource:
		w.inbox = append(w.inbox, a.Command)
	default:
		if kind == handover.Prepare && !w.queues[a.Command.ReplayQueue] {
			w.violated("PREPARE before the replay queue")
		}
		source := w.instances[w.object.Status.SourcePodUID]
		newcomer := source != nil && (source.State == handover.Held || source.State == handover.Retired)
		open := w.decisions[a.Command.Migration] != handover.Aborted // otherwise nobody takes over, whatever the manager knew
		if kind == handover.TakeOver && open && newcomer != (a.Command.FencePodUID == "") {
			w.violated("TAKEOVER fences %q off", a.Command.FencePodUID)
		}
		answer := in.Take(a.Command, w.decisions[a.Command.Migration])
		if in.State == handover.Frozen {
			w.ends[in.Migration] = true
		}
		w.heard[w.uid(a.Role)], s.Answer = &answer, &answer
	}
	sent := maps.Clone(w.sent[a.Role])
	sent[kind] = s
	w.sent[a.Role] = sent
}

// actOnPod does what is done to pods, each bound to a UID.
func (w *world) actOnPod(a migration.Action) {
	switch a := a.(type) {
	case migration.CreateTarget:
		if w.pods[a.Pod.Name] == nil {
			w.born++
			p := a.Pod.DeepCopy()
			p.UID, p.Status = types.UID(fmt.Sprintf("uid-%d", w.born)), corev1.PodStatus{Phase: corev1.PodPending}
			w.pods[p.Name] = p
		}
	case migration.OpenGate:
		w.change(a.Name, a.UID, func(p *corev1.Pod) {
			if in := w.instances[a.UID]; in != nil && in.State != handover.Live && !w.crashed {
				w.violated("the gate of %s is opened while it is %s", a.Name, in.State)
			}
			p.Status.Conditions = append(p.Status.Conditions,
				corev1.PodCondition{Type: v1alpha1.ConditionLive, Status: corev1.ConditionTrue},
				corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
		})
	case migration.Expend:
		w.change(a.Name, a.UID, func(p *corev1.Pod) {
			metav1.SetMetaDataAnnotation(&p.ObjectMeta, corev1.PodDeletionCost, migration.LeastCost)
			metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationDeletionCost, a.Cost)
		})
	case migration.Adopt:
		w.change(a.Name, a.UID, func(p *corev1.Pod) {
			maps.Copy(p.Labels, a.Labels)
			p.OwnerReferences = []metav1.OwnerReference{a.Owner}
			metav1.SetMetaDataAnnotation(&p.ObjectMeta, corev1.PodDeletionCost, migration.MostCost)
			metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationDeletionCost, a.Cost)
		})
	case migration.SettleTarget:
		w.change(a.Name, a.UID, func(p *corev1.Pod) {
			delete(p.Labels, v1alpha1.LabelMigration)
			if a.Cost != nil {
				delete(p.Annotations, v1alpha1.AnnotationDeletionCost)
				delete(p.Annotations, corev1.PodDeletionCost)
			}
		})
	case migration.DeletePod:
		if p := w.pods[a.Name]; p != nil && p.UID == a.UID {
			w.deletePod(p)
		} else if p != nil {
			w.violated("a stranger was to be deleted: %s", a.UID)
		}
	default:
		w.violated("an unknown action: %T", a)
	}
}

func (w *world) change(name string, uid types.UID, f func(*corev1.Pod)) {
	p := w.pods[name]
	if p == nil || p.UID != uid {
		return // refused by the API server
	}
	p = p.DeepCopy()
	f(p)
	w.pods[name] = p
}

// deletePod checks that nobody loses the state by it.
func (w *world) deletePod(p *corev1.Pod) {
	in := w.instances[p.UID]
	if in != nil && w.state == p.UID && !w.crashed && w.decisions[in.Migration] != handover.Commit {
		w.violated("the pod %s is deleted, which has the state and is %s", p.Name, in.State)
	}
	if in != nil && in.State == handover.Live && w.state == p.UID && !w.crashed {
		w.violated("the pod %s is deleted, which is live with the state", p.Name)
	}
	w.removePod(p)
}

// removePod ends a pod and its process.
func (w *world) removePod(p *corev1.Pod) {
	delete(w.pods, p.Name)
	delete(w.instances, p.UID)
}

// takeCheckpoint calls the kubelet, which dumps and answers in turns to come.
func (w *world) takeCheckpoint(a migration.Checkpoint) {
	source := w.uid(migration.RoleSource)
	before := w.heard[source].Status
	if before.State != handover.Paused || before.Attempt != int(a.Attempt) {
		w.violated("a checkpoint of a source that was %s in attempt %d", before.State, before.Attempt)
	}
	w.calls++
	w.checkpoint = nil
	w.calling = &migration.CheckpointResult{
		Attempt: a.Attempt, Called: w.now, Before: before, Archive: fmt.Sprintf("checkpoint-%d.tar", w.calls),
	}
	w.archives[w.calling.Archive] = true // also if nobody lives to hear of it
}

// thaw is the leg that attends an attempt of this hop.
func (w *world) thaw(attempt int32) *v1alpha1.CheckpointTransfer {
	return w.legs[migration.TransferName(w.object, v1alpha1.TransferThaw, attempt)]
}

// freeze stops the source for CRIU. The agent says so, if it attends.
func (w *world) freeze() {
	w.frozen = true
	if l := w.thaw(w.calling.Attempt); isTrue(l, v1alpha1.TransferReady) {
		meta.SetStatusCondition(&l.Status.Conditions, metav1.Condition{Type: v1alpha1.TransferFrozen, Status: metav1.ConditionTrue, Reason: "Done"})
	}
}

// unfreeze lets the source go on, dumped or not. It reads what it was sent meanwhile.
func (w *world) unfreeze() {
	uid := w.uid(migration.RoleSource)
	in := w.instances[uid]
	for _, c := range w.inbox {
		if in != nil && !in.Mute {
			answer := in.Take(c, w.decisions[c.Migration])
			w.heard[uid] = &answer
		}
	}
	w.frozen, w.inbox = false, nil
}

// answer lets the kubelet answer, and the agent judge.
func (w *world) answer() {
	res := w.calling
	if res == nil {
		return
	}
	attended := w.frozen // what fails before that nobody has seen
	w.unfreeze()
	res.At, res.Err = w.now, w.failing
	if h := w.heard[w.uid(migration.RoleSource)]; h != nil {
		res.After = h.Status
	}
	if l := w.thaw(res.Attempt); attended && isTrue(l, v1alpha1.TransferReady) {
		c := metav1.Condition{Type: v1alpha1.TransferComplete, Status: metav1.ConditionTrue, Reason: "Done"}
		if w.changing && !l.Spec.KeepFrozen {
			c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.TransferReasonChanged
			w.spoilt = res.Archive
		}
		meta.SetStatusCondition(&l.Status.Conditions, c)
	}
	w.calling, w.checkpoint, w.failing, w.changing = nil, res, nil, false
}
