package migration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/api/meta"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// transferring has the archive packed and pushed by the agent of the source's node.
func (p *planner) transferring() Plan {
	if plan := p.needSource(); plan != nil {
		return *plan
	}
	deadline := p.until(p.settings.Deadlines.TransferSeconds)
	if p.late(deadline) {
		return p.giveUp(ReasonDeadline, p.overdue(v1alpha1.ConditionTransferred, "deadlines.transferSeconds"))
	}
	if p.Push == nil {
		p.set(v1alpha1.ConditionTransferred, metav1.ConditionFalse, ReasonWaiting, "the node agent on %q is to push the checkpoint", p.status.SourceNode)
		return p.act(CreateTransfer{
			Name: TransferName(p.Object, v1alpha1.TransferPush, p.status.Attempt),
			Spec: v1alpha1.CheckpointTransferSpec{
				BytesPerSecond: p.settings.BandwidthBytesPerSecond,
				Direction:      v1alpha1.TransferPush, NodeName: p.status.SourceNode,
				MigrationUID: p.Object.UID, Attempt: p.status.Attempt,
				PodName: p.sourceName(), PodUID: p.status.SourcePodUID, Container: p.status.Container,
				Archive: p.status.CheckpointID, Repository: p.settings.CheckpointImageRepository,
			},
		})
	}
	switch c := complete(p.Push); {
	case c.Status == metav1.ConditionFalse:
		return p.giveUp(c.Reason, "push: "+c.Message)
	case c.Status != metav1.ConditionTrue:
		p.retrying(v1alpha1.ConditionTransferred, c)
		if plan := p.beforehand(); plan != nil {
			return *plan
		}
		if plan := p.early(); plan != nil {
			return *plan
		}
		return p.wait(deadline, "the push from %q", p.status.SourceNode)
	case p.Push.Status.Image == nil || p.Push.Status.Image.Reference == "" || p.Push.Status.Image.Digest == "":
		return p.giveUp(ReasonTransferFailed, "push: the agent named no image")
	}
	if reference := p.Push.Status.Image.Reference; !p.Done[StepImageVerified(reference)] {
		return p.act(VerifyImage{Reference: reference})
	}
	p.status.CheckpointImage = p.Push.Status.Image.DeepCopy()
	p.set(v1alpha1.ConditionTransferred, metav1.ConditionTrue, ReasonDone, "the checkpoint is %s (%.1f MiB)", p.status.CheckpointImage.Reference, float64(p.status.CheckpointImage.SizeBytes)/(1<<20))
	p.enter(v1alpha1.PhaseRestoring)
	return p.restoring()
}

// complete is the condition by which an agent says how a leg went.
func complete(t *v1alpha1.CheckpointTransfer) metav1.Condition {
	if c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.TransferComplete); c != nil {
		return *c
	}
	return metav1.Condition{Status: metav1.ConditionUnknown}
}

// retrying passes on why an agent tries again.
func (p *planner) retrying(kind string, c metav1.Condition) {
	if c.Reason != "" {
		p.set(kind, metav1.ConditionFalse, c.Reason, c.Message)
	}
}

// overdue words a missed deadline, with what was known to be in the way.
func (p *planner) overdue(kind, deadline string) string {
	message := "not done within " + deadline
	if c := p.get(kind); c != nil && c.Status != metav1.ConditionTrue {
		message += ": " + c.Message
	}
	return message
}
