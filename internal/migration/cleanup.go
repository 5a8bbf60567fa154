package migration

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// forward goes on from COMMIT: the target serves, the source goes, then what the
// migration has made, then its marks. The phase becomes Completed when there is
// nothing left; after a hop into a shadow comes the one back.
func (p *planner) forward() Plan {
	if p.heirless() {
		return p.inherit()
	}
	p.enter(v1alpha1.PhaseFinalizing)
	p.noteLive()
	if deadline := p.until(p.settings.Deadlines.FinalizeSeconds); p.liveAwaited() && !p.late(deadline) {
		return p.wait(deadline, "LIVE of the target")
	}
	for _, step := range []func() *Plan{p.serve, p.succeed} {
		if plan := step(); plan != nil {
			return p.meanwhile(*plan)
		}
	}
	if p.outward() {
		if plan := p.sweep(); plan != nil {
			return *plan
		}
		return p.nextHop()
	}
	for _, step := range []func() *Plan{p.stranded, p.tidy, p.unplace, p.settled} {
		if plan := step(); plan != nil {
			return *plan
		}
	}
	p.cleaned()
	return p.complete()
}

func (p *planner) complete() Plan {
	if p.status.Hop > 1 {
		p.set(v1alpha1.ConditionReturned, metav1.ConditionTrue, ReasonDone, "the state is back in the pod %q", p.status.TargetPodName)
	}
	p.status.Placement = nil
	p.set(v1alpha1.ConditionSucceeded, metav1.ConditionTrue, ReasonDone, "the pod %q on %q has taken over", p.status.TargetPodName, p.status.TargetNode)
	p.endHop(ReasonCommitted)
	p.enter(v1alpha1.PhaseCompleted)
	return Plan{Ended: true}
}

// meanwhile does what needs no order while the target becomes Ready and the source
// goes: nobody reads archive, image or replay queue any more when the target is live and
// the source knows it, or is gone. plan is what is done, or waited for, otherwise.
func (p *planner) meanwhile(plan Plan) Plan {
	knows := p.state(RoleSource) == handover.Retired || !p.alive(RoleSource)
	if plan.Action != nil || !p.noted() || p.outward() || !knows {
		return plan
	}
	if litter := p.litter(); litter != nil && litter.Action != nil {
		return *litter
	}
	return plan
}

// tidy removes what the migration has made on the nodes, in the repository and
// at the broker, and then its marks; nil: there is nothing left.
func (p *planner) tidy() *Plan {
	if plan := p.litter(); plan != nil {
		return plan
	}
	var plan Plan
	switch marks := p.marks(); {
	case p.liveAwaited():
		// Without the decision a target that has not read it yet would take its
		// own, and throw the state away.
		plan = p.outlast("the target to say that it is live")
	case len(marks) > 0 && !p.marksNeeded():
		plan = p.act(RemoveMarks{Marks: marks})
	default:
		return nil
	}
	return &plan
}

// litter removes what nobody needs any more: what lies on the nodes, the replay queue
// and the image; nil: there is none left.
func (p *planner) litter() *Plan {
	if p.status.CheckpointImage == nil && p.Push != nil && p.Push.Status.Image != nil {
		// The agent has pushed it after the migration was given up. When the leg
		// is gone nobody knows the digest any more.
		p.status.CheckpointImage = p.Push.Status.Image.DeepCopy()
	}
	var plan Plan
	switch queues, image := p.replayQueues(), p.unwantedImage(); {
	case !p.Done[StepTransfersDeleted]:
		plan = p.tidyNodes()
	case p.Transfers > 0:
		plan = p.outlast("the node agents to remove what they left on the nodes")
	case len(queues) > 0:
		plan = p.act(DeleteReplayQueues{Queues: queues})
	case image != "":
		plan = p.act(DeleteImage{Reference: image})
	default:
		return nil
	}
	return &plan
}

// tidyNodes deletes the legs, whose agents then remove archives and staged
// files. An archive that belongs to no leg is swept up first.
func (p *planner) tidyNodes() Plan {
	if plan := p.sweep(); plan != nil {
		return *plan
	}
	return p.act(DeleteTransfers{})
}

// sweep removes archives of the hop's source that belong to no leg; nil: it is
// done, or has had its time.
func (p *planner) sweep() *Plan {
	if !p.straysPossible() || p.Done[StepUnswept] {
		return nil
	}
	var plan Plan
	switch {
	case p.Sweep == nil:
		plan = p.act(CreateTransfer{
			Name: TransferName(p.Object, v1alpha1.TransferSweep, p.status.Attempt),
			Spec: v1alpha1.CheckpointTransferSpec{
				Direction: v1alpha1.TransferSweep, NodeName: p.status.SourceNode,
				MigrationUID: p.Object.UID, Attempt: p.status.Attempt,
				PodName: p.sourceName(), PodUID: p.status.SourcePodUID, Container: p.status.Container,
			},
		})
	case complete(p.Sweep).Status == metav1.ConditionUnknown && !p.late(p.Sweep.CreationTimestamp.Add(p.Policy.Patience)):
		plan = p.wait(p.Sweep.CreationTimestamp.Add(p.Policy.Patience), "the node agent on %q to sweep up archives", p.status.SourceNode)
	default:
		return nil
	}
	return &plan
}

// straysPossible reports whether an archive may lie on the source's node that
// no leg knows: of a void attempt, or of one whose answer was lost.
func (p *planner) straysPossible() bool {
	switch {
	case p.status.Attempt == 0 || p.status.SourcePodUID == "" || p.status.SourceNode == "" || p.status.Container == "":
		return false
	case p.status.Attempt > 1:
		return true
	case p.Push != nil:
		return false
	}
	called := p.Checkpoint != nil || p.orphaned()
	return called && !p.is(v1alpha1.ConditionTransferred)
}

// unwantedImage is an image that is still to be deleted.
func (p *planner) unwantedImage() string {
	images := p.images()
	if p.settings.CheckpointRetention == v1alpha1.RetentionRetain || len(images) == 0 {
		return ""
	}
	return images[0]
}

// marksNeeded reports whether a source that has not been heard of since ABORT
// still has to find it: without the decision it would wait for one, and then
// write its own. Two small objects at the broker are left then, and said so.
func (p *planner) marksNeeded() bool {
	if p.committed() || p.releasedOrGone() {
		return false
	}
	p.set(v1alpha1.ConditionCommitted, metav1.ConditionFalse, ReasonMarksLeft,
		"ABORT stands at the broker, and is left there for the source, which has not answered: exchange %s and the queues %s<key>",
		handover.DecisionExchange(p.id()), handover.HoldQueue(""))
	return true
}

// liveAwaited reports whether the target has won, and may not know it.
func (p *planner) liveAwaited() bool {
	return p.committed() && p.alive(RoleTarget) && !p.noted()
}

// noted reports whether the target was heard to be live.
func (p *planner) noted() bool {
	return p.status.Pauses != nil && p.status.Pauses.HandoverMillis != nil
}

func (p *planner) releasedOrGone() bool {
	if p.status.Attempt == 0 || !p.alive(RoleSource) {
		return true
	}
	return p.state(RoleSource) == handover.Live
}

// outlast plans to wait for something that ends by itself. The status says for what only
// if it takes long: most of it has ended before anybody could have read that.
func (p *planner) outlast(what string) Plan {
	until := p.abandonAt()
	if p.committed() {
		if long := p.since().Add(p.Policy.Resend); p.late(long) {
			p.set(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, ReasonWaiting, "the target has taken over; waiting for %s", what)
		} else {
			until = earlier(until, long)
		}
	}
	return p.wait(until, "%s", what)
}

// abandonAt is when the migration ends whatever is left of it: its object is
// deleted, or it is decided, or given up, and something that it needs for the
// rest (a node, the broker, the registry) does not come back.
func (p *planner) abandonAt() time.Time {
	var from time.Time
	switch {
	case p.heirless(): // nothing but an heir ends it
	case p.committed():
		from = p.since().Add(seconds(p.settings.Deadlines.FinalizeSeconds))
	case p.givingUp() && !p.retries():
		from = p.get(v1alpha1.ConditionSucceeded).LastTransitionTime.Time
	}
	if d := p.Object.DeletionTimestamp; d != nil {
		from = earlier(from, d.Time)
	}
	if from.IsZero() {
		return from
	}
	return from.Add(p.Policy.Abandon)
}

func (p *planner) abandoned() bool {
	at := p.abandonAt()
	return !at.IsZero() && p.late(at)
}

// abandon ends the migration although something could not be cleaned up: a
// finalizer that hangs would keep a namespace from being deleted, and nobody
// waits for ever. The instances settle it among themselves by the decision and
// the holds, which are left for them.
func (p *planner) abandon() Plan {
	p.set(v1alpha1.ConditionCleanedUp, metav1.ConditionFalse, ReasonAbandoned,
		"not everything could be removed within %v: look for objects labelled %s=%s, the replay queue %q, the image and the marks at the broker",
		p.Policy.Abandon, v1alpha1.LabelMigration, p.uid(), p.replayQueue())
	if p.committed() && !p.heirless() {
		return p.complete()
	}
	if !p.givingUp() {
		p.set(v1alpha1.ConditionSucceeded, metav1.ConditionFalse, ReasonAbandoned, "the StatefulMigration was deleted")
	}
	return p.fail()
}

// cleaned takes note that nothing is left behind.
func (p *planner) cleaned() {
	if c := p.get(v1alpha1.ConditionCommitted); c != nil && c.Reason == ReasonMarksLeft {
		p.set(v1alpha1.ConditionCleanedUp, metav1.ConditionFalse, ReasonMarksLeft, c.Message)
		return
	}
	if p.Done[StepUnswept] {
		p.set(v1alpha1.ConditionCleanedUp, metav1.ConditionFalse, ReasonAbandoned,
			"an archive of the source may lie on the node %q: the namespace is being deleted, so that no agent could be asked to look", p.status.SourceNode)
		return
	}
	p.set(v1alpha1.ConditionCleanedUp, metav1.ConditionTrue, ReasonDone, "nothing is left behind")
}
