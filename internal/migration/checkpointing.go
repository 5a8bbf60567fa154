package migration

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// checkpointing gets a good image of the source: one that was taken while the
// source was Paused, of which the kubelet's archive is known.
func (p *planner) checkpointing() Plan {
	if at := p.retryAt(); !p.is(v1alpha1.ConditionBuffered) && !p.late(at) {
		return p.wait(at, "another try of the way back")
	}
	if reason, message, ok := p.sourceTrouble(); !ok && !p.shadowHeld() {
		return p.giveUp(reason, message)
	}
	if why := p.ownerTrouble(); why != "" && p.status.Hop <= 1 {
		return p.giveUp(ReasonOwnerChanged, why)
	}
	if plan := p.buffer(); plan != nil {
		return *plan
	}
	if plan := p.early(); plan != nil {
		return *plan
	}
	switch {
	case p.status.Attempt == 0, p.orphaned():
		return p.nextAttempt(nil)
	case p.Checkpoint != nil && p.Checkpoint.Attempt == p.status.Attempt:
		return p.checkpointed(p.Checkpoint)
	}
	return p.prepare()
}

// early has the target pod made before there is anything to restore: its node prepares
// sandbox, volumes and image while the source is dumped and shipped, and the shim
// waits for the checkpoint. nil: it is there, or its owner makes it.
func (p *planner) early() *Plan {
	_, asked := p.sent(RoleSource, handover.Prepare)
	answered := p.Checkpoint != nil && p.Checkpoint.Attempt == p.status.Attempt
	switch {
	case p.status.Phase == v1alpha1.PhaseCheckpointing && (asked || answered):
		return nil // the source stands still, or is about to: that it goes on comes first
	case p.sequential():
	case waitedInVain(p.Target.Pod, p.status.Container) && p.Target.Pod.DeletionTimestamp == nil && p.placed(p.Target.Pod):
		// The kubelet would let more and more time pass before it starts the container
		// again. A shadow is made anew when the checkpoint is there, an ordinal by its owner at once.
		p.status.TargetPodUID = ""
		p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonNotStaged, "the target pod waited for the checkpoint in vain, and is made anew for it")
		plan := p.act(DeletePod{Name: p.Target.Pod.Name, UID: p.Target.Pod.UID})
		return &plan
	case !p.recreated() && p.inVain():
	case !p.recreated():
		if plan := p.target(p.until(p.settings.Deadlines.RestoreSeconds)); plan != nil {
			return plan
		}
		if p.status.Attempt == 0 { // told with the attempt's beginning, not in a write of its own
			p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonWaiting, "the target pod %q is made, and waits for the checkpoint", p.status.TargetPodName)
		}
	default:
		return p.clearEarly()
	}
	return nil
}

// clearEarly has the pod that the state has left go before there is anything to
// restore, so that its owner makes it again meanwhile. nil: there is nothing to do for it now.
func (p *planner) clearEarly() *Plan {
	if p.status.Hop <= 1 {
		return nil
	}
	if plan := p.clearHome(); plan != nil && plan.Action != nil {
		return plan
	}
	return nil
}

// inVain reports whether a target that was made early has waited for longer than its
// shim does: the checkpoint takes its time.
func (p *planner) inVain() bool {
	c := p.get(v1alpha1.ConditionRestored)
	return c != nil && c.Reason == ReasonNotStaged
}

// buffer sets the holds and makes the replay queue, before the source is asked
// for anything. The condition records the intent first: a replay queue that is
// missing once it stood is a gap, never a reason to make it anew.
func (p *planner) buffer() *Plan {
	if p.is(v1alpha1.ConditionBuffered) {
		return nil
	}
	if !p.buffered() {
		p.intendBuffer()
	}
	if p.late(p.until(p.settings.Deadlines.CheckpointSeconds)) {
		plan := p.giveUp(ReasonDeadline, p.overdue(v1alpha1.ConditionBuffered, "deadlines.checkpointSeconds"))
		return &plan
	}
	if !p.Done[StepHolds] {
		plan := p.act(SetHolds{
			Keys: []string{
				p.id(), string(p.status.SourcePodUID),
				handover.PodSlot(p.Object.Namespace, p.sourceName()),
			},
			Queues: p.heldQueues(),
			// A ReplicaSet may start a pod in the place of a source that dies, which is
			// one too many when the copy has taken over. It must not have taken
			// anything by then.
			Always: p.ownedBy(owner.ReplicaSet),
			Hold: handover.Hold{
				Version: handover.Version, Migration: p.id(), SourcePod: string(p.status.SourcePodUID),
				DeadlineMillis: p.whole().Milliseconds(), Sequential: p.sequential(),
			},
		})
		return &plan
	}
	// Under the hold whoever starts in its place takes nothing.
	if plan := p.clearEarly(); plan != nil {
		return plan
	}
	if !p.Done[StepReplayQueue] {
		plan := p.act(CreateReplayQueue{Queue: p.replayQueue()})
		return &plan
	}
	p.set(v1alpha1.ConditionBuffered, metav1.ConditionTrue, ReasonDone, "holds and replay queue stand")
	return nil
}

func (p *planner) intendBuffer() {
	p.set(v1alpha1.ConditionBuffered, metav1.ConditionUnknown, ReasonPreparing, "holds and replay queue are being made")
}

// heldQueues are the queues whose slots are held if the source is their only
// consumer; none in a later hop, which the first one's holds span.
func (p *planner) heldQueues() []string {
	if p.status.Hop > 1 {
		return nil
	}
	return p.Object.Spec.MessageQueueConfig.Queues()
}

// buffered reports whether something of this migration may stand at the broker.
func (p *planner) buffered() bool { return p.get(v1alpha1.ConditionBuffered) != nil }

// whole is the sum of all deadlines: nobody waits longer for a decision.
func (p *planner) whole() time.Duration {
	d := p.settings.Deadlines
	return seconds(d.CheckpointSeconds)*time.Duration(p.mostAttempts()) +
		seconds(d.TransferSeconds) + seconds(d.RestoreSeconds) + seconds(d.ReplaySeconds) + seconds(d.FinalizeSeconds)
}

// attemptTime is the deadline of an attempt: a void one is followed by a longer.
func (p *planner) attemptTime() time.Duration {
	return seconds(p.settings.Deadlines.CheckpointSeconds) * time.Duration(max(p.status.Attempt, 1))
}

func (p *planner) attemptUntil() time.Time {
	if p.status.AttemptStartedAt == nil {
		return p.Now
	}
	return p.status.AttemptStartedAt.Add(p.attemptTime())
}

// orphaned reports whether nothing more comes of the attempt: its copy was no
// good, or it was begun by another process, which may have called the kubelet;
// its answer is lost, and with it the image.
func (p *planner) orphaned() bool { return p.status.AttemptEpoch != p.status.Epoch }

// nextAttempt begins an attempt, when the source is where PREPARE is taken.
// why is what became of the last one.
func (p *planner) nextAttempt(why *Error) Plan {
	if c := p.get(v1alpha1.ConditionCheckpointed); why == nil && c != nil && c.Reason == string(handover.ReasonNotPaused) {
		why = Passing(c.Reason, errNotPaused)
	}
	if why == nil {
		why = Passing(ReasonCheckpointVoid, errLostAnswer)
	}
	if p.status.Attempt > 0 {
		p.set(v1alpha1.ConditionCheckpointed, metav1.ConditionFalse, why.Reason, "attempt %d: %v", p.status.Attempt, why.Err)
	}
	switch {
	case !why.Retry:
		return p.giveUp(why.Reason, why.Err.Error())
	case p.status.Attempt >= p.mostAttempts():
		return p.giveUp(why.Reason, fmt.Sprintf("spec.backoffLimit is %d, and attempt %d has failed: %v", p.mostAttempts()-1, p.status.Attempt, why.Err))
	}
	if plan := p.settle(); plan != nil {
		return *plan
	}
	if p.Checkpoint != nil {
		// Doubled each time: what is in the way (a kubelet that is being started) may take its time.
		pause := p.Checkpoint.At.Add(p.Policy.AttemptPause << max(p.status.Attempt-1, 0))
		if pause.After(p.Now) {
			return p.wait(pause, "the next attempt")
		}
	}
	p.status.Attempt++
	p.status.AttemptEpoch = p.status.Epoch
	now := metav1.NewMicroTime(p.Now)
	p.status.AttemptStartedAt = &now
	if p.status.Attempt == 1 {
		p.preparing()
	} // else what became of the last one is to be read and told first
	return p.attend()
}

func (p *planner) preparing() {
	p.set(v1alpha1.ConditionCheckpointed, metav1.ConditionFalse, ReasonPreparing, "attempt %d: the source goes to its safe point", p.status.Attempt)
}

// settle gets the source out of an attempt that has ended without an image.
func (p *planner) settle() *Plan {
	var plan Plan
	switch deadline := p.since().Add(p.whole()); p.state(RoleSource) {
	case handover.Live, handover.Relaying:
		return nil
	case handover.Paused:
		if !p.ours(RoleSource) {
			plan = p.wait(deadline, "the source to leave another migration")
			break
		}
		// The source is bound to the attempt that it paused for.
		plan = p.ask(RoleSource, handover.Resume, deadline, "RELAYING of the source")
	default:
		if p.late(deadline) {
			plan = p.giveUp(ReasonSourceMute, "the source does not say where it stands")
			break
		}
		plan = p.wait(deadline, "the source to say where it stands")
	}
	return &plan
}

// prepare brings the source to the safe point and calls the kubelet. What can be
// done before the source stops is done before.
func (p *planner) prepare() Plan {
	report, deadline := p.Source.Report, p.attemptUntil()
	there := p.ours(RoleSource) && report.Status.Attempt == int(p.status.Attempt)
	if no := p.refused(RoleSource, handover.Prepare); no != nil {
		switch no.Reason {
		case handover.ReasonDrainDeadline, handover.ReasonStale, handover.ReasonWrongState:
			return p.nextAttempt(Passing(string(no.Reason), errorf("the source refused PREPARE: %s", words(no))))
		}
		return p.giveUp(string(no.Reason), "the source refused PREPARE: "+words(no))
	}
	switch {
	case there && report.Status.State == handover.Paused:
		return p.act(Checkpoint{
			Node: p.status.SourceNode, Pod: p.sourceName(), Container: p.status.Container,
			Attempt: p.status.Attempt, Timeout: deadline.Sub(p.Now),
		})
	case there && report.Status.State == handover.Relaying:
		return p.nextAttempt(Passing(ReasonCheckpointVoid, errorf("the source went on before the kubelet was called")))
	case p.late(deadline):
		return p.nextAttempt(Passing(ReasonDeadline, errorf("the source did not answer PREPARE within %v", p.attemptTime())))
	case there:
		return p.wait(deadline, "PREPARED of the source")
	}
	if plan := p.attended(); plan != nil {
		return *plan
	}
	p.preparing()
	return p.ask(RoleSource, handover.Prepare, deadline, "PREPARED of the source")
}

// checkpointed lets the source go on, if it has not been told to before and
// whatever the kubelet said, and then looks at what there is.
func (p *planner) checkpointed(res *CheckpointResult) Plan {
	if p.state(RoleSource) != handover.Relaying {
		if p.late(p.attemptUntil().Add(p.Policy.Patience)) {
			return p.giveUp(ReasonSourceMute, "the source has not gone on after the checkpoint")
		}
		return p.ask(RoleSource, handover.Resume, time.Time{}, "RELAYING of the source")
	}
	switch {
	case res.Err != nil:
		return p.nextAttempt(res.Err)
	case !res.Resumed && (res.After.State != handover.Paused || res.After.Attempt != int(res.Attempt)):
		// The source went on by itself while the kubelet was at work: the image
		// may show it in the middle of anything.
		return p.nextAttempt(Passing(ReasonCheckpointVoid, errorf("the source reached its deadline before the checkpoint was taken")))
	}
	if prepare, ok := p.sent(RoleSource, handover.Prepare); p.sequential() && (!ok || !res.At.Before(prepare.First.Add(p.attemptTime()))) {
		// Here the copy is tried only after the source has gone. So the image has
		// to be known to be good: the source cannot have reached its deadline
		// before this one, which began earlier.
		return p.nextAttempt(Passing(ReasonCheckpointVoid, errorf("the kubelet answered after the source's deadline: the image may not show it Paused")))
	}
	if plan := p.judged(res); plan != nil {
		return *plan
	}
	p.status.CheckpointID = res.Archive
	p.positions().Checkpoint = int64(res.Before.Number)
	p.status.Pauses = p.pause(res)
	p.set(v1alpha1.ConditionCheckpointed, metav1.ConditionTrue, ReasonDone, "attempt %d: the image holds everything up to message %d", res.Attempt, res.Before.Number)
	p.enter(v1alpha1.PhaseTransferring)
	return p.transferring()
}
