package migration

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// cede freezes the source of a Sequential migration, when everything is ready for
// its successor: the checkpoint lies on the target node, and the owner is known
// to want the pod. The source writes COMMIT with END_REPLAY; until then an abort
// leaves it live.
func (p *planner) cede(deadline time.Time) Plan {
	if p.Fetch == nil {
		p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonWaiting, "the node agent on %q is to fetch the checkpoint", p.status.TargetNode)
		return p.act(CreateTransfer{
			Name: TransferName(p.Object, v1alpha1.TransferFetch, p.status.Attempt),
			Spec: v1alpha1.CheckpointTransferSpec{
				BytesPerSecond: p.settings.BandwidthBytesPerSecond,
				Direction:      v1alpha1.TransferFetch, NodeName: p.status.TargetNode,
				MigrationUID: p.Object.UID, Attempt: p.status.Attempt,
				PodName: p.sourceName(), PodUID: p.status.SourcePodUID, Container: p.status.Container,
				Image: p.status.CheckpointImage.Reference,
			},
		})
	}
	switch c := complete(p.Fetch); {
	case c.Status == metav1.ConditionFalse:
		return p.giveUp(c.Reason, "fetch: "+c.Message)
	case c.Status != metav1.ConditionTrue:
		p.retrying(v1alpha1.ConditionRestored, c)
		return p.wait(deadline, "the checkpoint to lie on %q", p.status.TargetNode)
	case p.Hostname == "":
		return p.wait(deadline, "the label of the node %q", p.status.TargetNode)
	}
	if why := p.ownerTrouble(); why != "" {
		return p.giveUp(ReasonOwnerChanged, why)
	}
	if p.unsettled() {
		return p.wait(earlier(p.Now.Add(p.Policy.Poll), deadline), "the owner's controller to see its newest spec")
	}
	p.place(p.status.Hop)
	if p.state(RoleSource) != handover.Relaying {
		return p.wait(deadline, "the source to cede")
	}
	no := p.refused(RoleSource, handover.Freeze)
	switch {
	case no != nil && no.Reason == handover.ReasonNotPaused:
		return p.restoreAgain(deadline) // the source itself says that its image may be no good
	case no != nil:
		// It relays on, and nothing is lost: it is asked once more.
		p.set(v1alpha1.ConditionReplayed, metav1.ConditionFalse, string(no.Reason), "the source refused FREEZE: %s", words(no))
	default:
		p.set(v1alpha1.ConditionReplayed, metav1.ConditionFalse, ReasonWaiting, "END_REPLAY is not written")
	}
	p.freezes()
	return p.ask(RoleSource, handover.Freeze, deadline, "the source to cede")
}

// freezes notes when the source was first told to freeze: the gap begins there.
func (p *planner) freezes() {
	if p.status.FrozenAt == nil {
		at := metav1.NewMicroTime(p.Now)
		p.status.FrozenAt = &at
	}
}

// heirless reports whether the state is in the image and the replay queue alone:
// the source has ceded, and no target is live yet. There is no way but forward.
// In the phase Finalizing it was the target that wrote COMMIT, in a takeover.
func (p *planner) heirless() bool {
	return p.sequential() && p.committed() && p.status.Phase != v1alpha1.PhaseFinalizing &&
		p.state(RoleTarget) != handover.Live && !p.noted()
}

// inherit restores the state until a target is live.
func (p *planner) inherit() Plan {
	if p.status.Phase != v1alpha1.PhaseReplaying {
		p.enter(v1alpha1.PhaseRestoring)
		deadline := p.until(p.settings.Deadlines.RestoreSeconds)
		if p.late(deadline) {
			return p.again(ReasonDeadline, p.overdue(v1alpha1.ConditionRestored, "deadlines.restoreSeconds"))
		}
		return p.restore(deadline)
	}
	if reason, message, ok := p.targetTrouble(); !ok {
		return p.again(reason, message)
	}
	deadline := p.until(p.settings.Deadlines.ReplaySeconds)
	if plan := p.startReplay(deadline); plan != nil {
		return *plan
	}
	if p.late(deadline.Add(p.Policy.Patience)) {
		return p.again(ReasonDeadline, "the replay did not end within deadlines.replaySeconds")
	}
	if p.is(v1alpha1.ConditionTakeover) {
		// The source may not have come to END_REPLAY: if it has, this does no harm.
		return p.ask(RoleTarget, handover.TakeOver, deadline, "the target to take over")
	}
	return p.wait(deadline.Add(p.Policy.Patience), "the target to go live")
}

// again gives a copy up that could not take over, and restores the same image
// once more: image and replay queue stand until there is an heir.
func (p *planner) again(reason, message string) Plan {
	p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, reasonWord(reason), "restored again from the image and the replay queue, which hold the state: %s", message)
	if p.present(RoleTarget) {
		if p.Target.Pod.DeletionTimestamp != nil {
			return p.wait(time.Time{}, "the copy %q to go", p.Target.Pod.Name)
		}
		grace := int64(1)
		return p.act(DeletePod{Name: p.Target.Pod.Name, UID: p.status.TargetPodUID, Grace: &grace})
	}
	p.status.TargetPodUID = ""
	p.back(v1alpha1.PhaseRestoring)
	return p.wait(p.Now.Add(p.Policy.Resend), "another try of the restore")
}
