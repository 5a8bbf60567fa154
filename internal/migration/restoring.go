package migration

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// restoring has the image staged for the target pod, which waits for it, and waits
// until a copy that woke Paused answers from it.
func (p *planner) restoring() Plan {
	if plan := p.needSource(); plan != nil {
		return *plan
	}
	deadline := p.until(p.settings.Deadlines.RestoreSeconds)
	if p.late(deadline) {
		return p.giveUp(ReasonDeadline, p.overdue(v1alpha1.ConditionRestored, "deadlines.restoreSeconds"))
	}
	switch {
	case p.notPaused():
		return p.restoreAgain(deadline)
	case p.sequential() && !p.takesOver():
		return p.cede(deadline)
	}
	return p.restore(deadline)
}

// restore has the checkpoint restored into the target pod.
func (p *planner) restore(deadline time.Time) Plan {
	if what := p.missing(); what != "" {
		// After COMMIT there is no giving up, and without these nothing to go on with.
		p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonInvalidSpec, "there is no %s: somebody has changed the status by hand", what)
		return p.wait(time.Time{}, "the status to have %s", what)
	}
	target := p.target
	if p.recreated() {
		target = p.home
	}
	if plan := target(deadline); plan != nil {
		return *plan
	}
	if reason, message, ok := p.targetTrouble(); !ok {
		return p.giveUp(reason, message)
	}
	pod := p.Target.Pod
	if pod.Spec.NodeName == "" {
		p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonUnschedulable, unscheduled(pod))
		if p.committed() && p.late(pod.CreationTimestamp.Add(p.Policy.Patience)) {
			// The state has nowhere else to go than into some pod: any node will do. The
			// pod has had its time, not the phase, which may have begun long before.
			p.status.TargetNode = ""
			return p.again(ReasonUnschedulable, unscheduled(pod))
		}
		return p.wait(deadline, "the scheduler to place %q", pod.Name)
	}
	p.status.TargetNode = pod.Spec.NodeName
	if p.Stage == nil {
		p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonWaiting, "the node agent on %q is to stage the checkpoint", p.status.TargetNode)
		return p.act(p.stageLeg(pod))
	}
	staged := complete(p.Stage)
	switch staged.Status {
	case metav1.ConditionFalse:
		return p.giveUp(staged.Reason, "stage: "+staged.Message)
	case metav1.ConditionTrue:
		if why := startFailure(pod, p.status.Container); why != "" {
			return p.giveUp(ReasonRestoreFailed, why)
		}
	default:
		p.retrying(v1alpha1.ConditionRestored, staged)
	}
	switch p.state(RoleTarget) {
	case handover.Restored, handover.Replaying:
		p.noteRestored()
		p.enter(v1alpha1.PhaseReplaying)
		if p.committed() {
			return p.inherit()
		}
		return p.replaying()
	}
	if staged.Status == metav1.ConditionTrue {
		// A copy answers so soon that this is worth a write only if it does not.
		if long := staged.LastTransitionTime.Add(p.Policy.Resend); p.late(long) {
			p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonWaiting, "the checkpoint is staged; the copy has not answered yet")
		} else {
			deadline = earlier(deadline, long)
		}
	}
	if plan := p.beforehand(); plan != nil {
		return *plan
	}
	return p.wait(deadline, "the copy in %q to answer", pod.Name)
}

// noteRestored takes note that the copy answers.
func (p *planner) noteRestored() {
	p.set(v1alpha1.ConditionRestored, metav1.ConditionTrue, ReasonDone, "the copy answers in the pod %q on %q", p.status.TargetPodName, p.status.TargetNode)
}

// stageLeg is the leg that stages the checkpoint for a pod that has a node. Without
// an image it stages nothing, and is there to be withdrawn.
func (p *planner) stageLeg(pod *corev1.Pod) CreateTransfer {
	leg := CreateTransfer{
		Name: StageName(p.Object, pod.UID),
		Spec: v1alpha1.CheckpointTransferSpec{
			BytesPerSecond: p.settings.BandwidthBytesPerSecond,
			Direction:      v1alpha1.TransferStage, NodeName: pod.Spec.NodeName,
			MigrationUID: p.Object.UID, Attempt: max(p.status.Attempt, 1),
			PodName: pod.Name, PodUID: pod.UID, Container: p.status.Container,
		},
	}
	if image := p.status.CheckpointImage; image != nil {
		leg.Spec.Image = image.Reference
	}
	return leg
}

// target makes the target pod; nil: it is there. Its name is recorded before
// it is made, so that a restart finds the one and does not make another.
func (p *planner) target(time.Time) *Plan {
	if p.status.TargetPodName == "" && p.present(RoleSource) {
		p.status.TargetPodName = TargetName(p.Object, p.Source.Pod)
	}
	pod := p.Target.Pod
	var plan Plan
	switch {
	case pod == nil && p.status.TargetPodUID != "":
		plan = p.giveUp(ReasonTargetLost, "the target pod is gone")
	case pod == nil && !p.present(RoleSource):
		// Only the source's pod tells what the target's is to be like.
		plan = p.giveUp(ReasonSourceLost, "the source pod is gone, and the target pod was not made yet")
	case pod == nil:
		p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonWaiting, "the target pod %q is being made", p.status.TargetPodName)
		made, notes := TargetPod(p.Object, p.status, p.Source.Pod, p.id(), p.ownerOnly())
		if p.Owner != nil {
			more, why := Unseen(made, *p.Owner)
			if why != "" {
				plan = p.giveUp(ReasonPodUnsupported, why)
				break
			}
			notes = append(notes, more...)
		}
		plan = p.act(CreateTarget{Pod: made, Notes: notes})
	case pod.DeletionTimestamp != nil && p.status.TargetPodUID == "":
		plan = p.departing(pod, "the pod that waited for the checkpoint in vain to go")
	case pod.Labels[v1alpha1.LabelMigration] != p.uid():
		plan = p.giveUp(ReasonTargetNameTaken, "another pod has the target's name "+pod.Name)
	default:
		p.status.TargetPodUID = pod.UID
		return nil
	}
	return &plan
}

// notPaused reports whether the image of this attempt is no good: its copy woke
// in another state than Paused, because the source's deadline passed before the
// process was frozen. Such a copy touches nothing, and never takes a decision.
func (p *planner) notPaused() bool {
	if c := p.get(v1alpha1.ConditionRestored); c != nil && c.Reason == string(handover.ReasonNotPaused) {
		return true // recorded by a process that had heard the copy
	}
	r := p.Target.Report
	return r != nil && r.Status.State == handover.Void && r.Reason == handover.ReasonNotPaused
}

// restoreAgain removes what the attempt has made, and begins another, whose
// deadline is longer. The reason is recorded first: when the copy is gone,
// nobody else knows it.
func (p *planner) restoreAgain(deadline time.Time) Plan {
	p.unthrottle()
	p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, string(handover.ReasonNotPaused), "attempt %d: %v", p.status.Attempt, errNotPaused)
	if pod := p.Target.Pod; pod != nil && pod.UID == p.status.TargetPodUID {
		if pod.DeletionTimestamp == nil {
			grace := int64(1)
			return p.act(DeletePod{Name: pod.Name, UID: pod.UID, Grace: &grace})
		}
		return p.wait(deadline, "the copy %q to go", pod.Name)
	}
	if image := p.status.CheckpointImage; image != nil && !p.Done[StepImageDeleted(image.Reference)] {
		return p.act(DeleteImage{Reference: image.Reference})
	}
	p.status.CheckpointImage, p.status.CheckpointID = nil, ""
	p.status.AttemptEpoch = 0 // nothing more comes of it
	if p.status.TargetPodUID = ""; !p.recreated() {
		p.status.TargetPodName, p.status.TargetNode = "", ""
	}
	p.set(v1alpha1.ConditionTransferred, metav1.ConditionFalse, string(handover.ReasonNotPaused), "the image of attempt %d was no good", p.status.Attempt)
	p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonWaiting, "the image of attempt %d was no good", p.status.Attempt)
	p.back(v1alpha1.PhaseCheckpointing)
	return p.nextAttempt(Passing(string(handover.ReasonNotPaused), errNotPaused))
}

func unscheduled(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "the target pod cannot be scheduled: " + c.Message
		}
	}
	return "the target pod is not scheduled yet"
}

// startFailure is why the kubelet could not start the container though the
// checkpoint was staged, in the runtime's (and so in CRIU's) words. That the shim
// had waited in vain before is none: the kubelet starts the container again.
func startFailure(pod *corev1.Pod, container string) string {
	c := containerStatus(pod, container)
	if c == nil {
		return ""
	}
	if waitedInVain(pod, container) {
		return ""
	}
	for _, t := range []*corev1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
		if t != nil {
			return "the restored process ended: " + t.Reason + ": " + t.Message
		}
	}
	if w := c.State.Waiting; w != nil {
		switch w.Reason {
		case "CreateContainerError", "RunContainerError", "CrashLoopBackOff":
			return "the container cannot be restored: " + w.Reason + ": " + w.Message
		}
	}
	return ""
}

// waitedInVain reports whether the shim did not start the container because there was
// no checkpoint for as long as it waits.
func waitedInVain(pod *corev1.Pod, container string) bool {
	c := containerStatus(pod, container)
	if c == nil || c.State.Running != nil {
		return false
	}
	var words []string
	for _, t := range []*corev1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
		if t != nil {
			words = append(words, t.Message)
		}
	}
	if w := c.State.Waiting; w != nil {
		words = append(words, w.Message)
	}
	return slices.ContainsFunc(words, func(s string) bool { return strings.Contains(s, v1alpha1.MessageNotStaged) })
}
