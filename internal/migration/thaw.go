package migration

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// The kubelet answers when the archive is written, long after CRIU has let the
// process go. So the agent of the source's node attends each checkpoint (a Thaw):
// it lets the process go on when CRIU has ended. Before that it says when the process
// is frozen; RESUME is sent then, and is there when it wakes. See docs/pause.md.

// attend has the agent of the source's node attend the checkpoint of this attempt.
// Only the first is let go before everything is packed: whoever writes to its
// file system so often that this came out badly is not tried twice.
func (p *planner) attend() Plan {
	return p.act(CreateTransfer{
		Name: TransferName(p.Object, v1alpha1.TransferThaw, p.status.Attempt),
		Spec: v1alpha1.CheckpointTransferSpec{
			Direction: v1alpha1.TransferThaw, NodeName: p.status.SourceNode,
			MigrationUID: p.Object.UID, Attempt: p.status.Attempt,
			PodName: p.sourceName(), PodUID: p.status.SourcePodUID, Container: p.status.Container,
			KeepFrozen: p.status.Attempt > 1,
			// A volume follows the pod as the source leaves it, and CRIU restores no
			// file whose size has changed: nothing could be done about it after COMMIT.
			RefuseOpenVolumes: p.sequential(),
		},
	})
}

// attended waits for the agent to watch, before the source is stopped: nil when
// it does, or has had its time.
func (p *planner) attended() *Plan {
	if p.status.AttemptStartedAt == nil {
		return nil
	}
	var plan Plan
	_, asked := p.sent(RoleSource, handover.Prepare)
	switch patience := p.status.AttemptStartedAt.Add(min(p.Policy.Attend, p.attemptTime()/2)); {
	case asked || p.late(patience):
		return nil
	case p.Thaw == nil:
		plan = p.attend()
	case meta.IsStatusConditionTrue(p.Thaw.Status.Conditions, v1alpha1.TransferReady) || complete(p.Thaw).Status != metav1.ConditionUnknown:
		return nil
	default:
		plan = p.wait(patience, "the node agent on %q to watch over the checkpoint", p.status.SourceNode)
	}
	return &plan
}

// calling waits for the kubelet, whatever else has happened: an archive must not
// appear when its migration has tidied up already. A source that is frozen for CRIU
// is sent RESUME: it can't read that before it is dumped, so its image shows it Paused. If
// the dump fails it goes on as it would with the kubelet's answer.
func (p *planner) calling() Plan {
	frozen := p.Thaw != nil && meta.IsStatusConditionTrue(p.Thaw.Status.Conditions, v1alpha1.TransferFrozen)
	if frozen && p.ours(RoleSource) && p.state(RoleSource) == handover.Paused && p.Source.Report.Status.Attempt == int(p.status.Attempt) {
		return p.ask(RoleSource, handover.Resume, time.Time{}, "the kubelet's answer")
	}
	if !frozen {
		if plan := p.clearEarly(); plan != nil {
			return *plan
		}
	}
	return p.wait(time.Time{}, "the kubelet's answer")
}

// judged asks the agent whether the image is of one moment: nil if it is. An
// agent that may have let the container go before everything was packed and says
// nothing of it, is not believed to have kept its hands off.
func (p *planner) judged(res *CheckpointResult) *Plan {
	volumes := p.sequential() && p.present(RoleSource) && len(ClaimNames(p.Source.Pod)) > 0
	if !volumes && (p.Thaw == nil || p.Thaw.Spec.KeepFrozen) {
		return nil
	}
	var plan Plan
	switch c, patience := attendance(p.Thaw), res.At.Add(p.Policy.Attend); {
	case volumes && c.Reason == v1alpha1.TransferReasonUnattended:
		plan = p.nextAttempt(Passing(c.Reason, errorf("the node agent could not look whether files of a volume are open, of which no image can be restored: %s", c.Message)))
	case c.Status == metav1.ConditionTrue:
		return nil
	case c.Status == metav1.ConditionFalse:
		plan = p.nextAttempt(Passing(c.Reason, errorf("the node agent: %s", c.Message)))
	case p.late(patience):
		plan = p.nextAttempt(Passing(ReasonCheckpointVoid, errorf("the node agent did not say whether it let the source go too early")))
	default:
		plan = p.wait(patience, "the verdict of the node agent on %q", p.status.SourceNode)
	}
	return &plan
}

// attendance is the verdict of a Thaw, which may not be there.
func attendance(t *v1alpha1.CheckpointTransfer) metav1.Condition {
	if t == nil {
		return metav1.Condition{Status: metav1.ConditionUnknown}
	}
	return complete(t)
}

// pause takes the pause to pieces.
func (p *planner) pause(res *CheckpointResult) *v1alpha1.Pauses {
	whole, parts := p.Source.Report.Status.PauseMillis, &v1alpha1.CheckpointPause{}
	rest := whole
	if prepare, ok := p.sent(RoleSource, handover.Prepare); ok {
		drain := res.Called.Sub(prepare.First).Milliseconds()
		parts.DrainMillis = &drain
		rest -= drain
	}
	if p.Thaw != nil && p.Thaw.Status.Times != nil {
		parts.Node = p.Thaw.Status.Times.DeepCopy()
		// The drain has two ways in it that the source does not count.
		rest = max(0, rest-parts.Node.BeginMillis-parts.Node.DumpMillis-parts.Node.ThawMillis)
		parts.CallMillis = &rest
	}
	return &v1alpha1.Pauses{CheckpointMillis: &whole, Checkpoint: parts}
}
