package migration

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// place records how the owner's next pod of the name is to be changed at
// admission, for a hop. It is written before the present pod goes.
func (p *planner) place(hop int32) {
	if p.status.Owner == nil {
		return // nobody makes it again: see missing
	}
	p.status.Placement = &v1alpha1.Placement{
		PodName: p.Object.Spec.SourcePod.Name, OwnerUID: p.status.Owner.UID, Container: p.status.Container,
		Handover: hopID(p.Object.UID, hop), OwnerOnly: p.ownerOnly(),
	}
	if p.status.TargetNode != "" {
		p.status.Placement.Hostname = p.Hostname
	}
}

// home has the pod's owner make it again on the target node, for this hop's
// checkpoint; nil: it is there. Whatever else has the name goes: the pod that the
// state has left, and one that was made before the API server knew of the
// placement (it has taken nothing, because of the hold).
func (p *planner) home(deadline time.Time) *Plan {
	var plan Plan
	if p.Hostname == "" && p.status.TargetNode != "" {
		plan = p.wait(deadline, "the label %s of the node %q", corev1.LabelHostname, p.status.TargetNode)
		return &plan
	}
	p.place(p.status.Hop)
	switch pod := p.Target.Pod; {
	case pod == nil && p.status.TargetPodUID != "":
		plan = p.giveUp(ReasonTargetLost, "the target pod is gone")
	case pod == nil:
		p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonWaiting, "the %s %q is to make the pod %q again",
			p.status.Owner.Kind, p.status.Owner.Name, p.status.TargetPodName)
		if why := p.ownerTrouble(); why != "" {
			p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonOwnerChanged, why)
		}
		plan = p.wait(deadline, "the pod %q to be made again", p.status.TargetPodName)
	case !p.placed(pod):
		if !p.former(pod.UID) {
			p.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, ReasonNotSteered,
				"the pod %q of the UID %s was made without what the policy ms2m-placement adds: it goes, and is to be made again; "+
					"an API server may not know the policy's parameters for half a minute after its start", pod.Name, pod.UID)
		}
		plan = *p.clearHome()
	case p.status.TargetPodUID != "" && p.status.TargetPodUID != pod.UID:
		// It has gone before it was asked to replay, and its owner was faster than we. All
		// that was observed, what it said and what was staged, is about the one before.
		p.status.TargetPodUID = pod.UID
		plan = Plan{Until: p.Now, For: fmt.Sprintf("what is known of the pod %q of the UID %s", pod.Name, pod.UID)}
	default:
		p.status.TargetPodUID = pod.UID
		return nil
	}
	return &plan
}

// former reports whether the state has been in that pod.
func (p *planner) former(uid types.UID) bool {
	return uid == p.status.SourcePodUID ||
		slices.ContainsFunc(p.status.Hops, func(h v1alpha1.Hop) bool { return h.SourcePodUID == uid })
}

// clearHome has whatever else has the ordinal's name go; nil: there is nothing.
func (p *planner) clearHome() *Plan {
	pod := p.Target.Pod
	if pod == nil || p.placed(pod) {
		return nil
	}
	plan := p.departing(pod, fmt.Sprintf("the pod %q of the UID %s to go", pod.Name, pod.UID))
	if pod.DeletionTimestamp == nil {
		plan = p.act(DeletePod{Name: pod.Name, UID: pod.UID})
	}
	return &plan
}

// stranded has a pod go that the owner made before the API server knew of the placement,
// when the target is lost, or the shadow: it has read COMMIT, by which it is Retired for
// ever. So does one that was made for another try, if the shadow was lost after that was
// placed. The next one waits for a checkpoint, until there are no marks any more
// (unplace), and from then on none is disturbed. nil: there is nothing.
func (p *planner) stranded() *Plan {
	if !p.recreated() || p.present(RoleTarget) || p.status.Placement == nil {
		return nil
	}
	p.place(p.status.Hop)
	return p.clearHome()
}

// unplace has what the owner has made for this hop, and is not its target, go: no
// checkpoint will come. There are no marks any more: what the owner makes next begins
// anew. nil: there is nothing.
func (p *planner) unplace() *Plan {
	p.status.Placement = nil
	if !p.recreated() || p.present(RoleTarget) || !p.strayTarget() {
		return nil
	}
	return p.dismiss(p.Target.Pod)
}

// dismiss has a pod go that owns nothing, so that it gets no time to end.
func (p *planner) dismiss(pod *corev1.Pod) *Plan {
	var plan Plan
	if pod.DeletionTimestamp == nil {
		grace := int64(1)
		plan = p.act(DeletePod{Name: pod.Name, UID: pod.UID, Grace: &grace})
	} else if leg, ok := p.awaited(); ok {
		plan = p.act(leg)
	} else {
		plan = p.departing(pod, "the target pod to go")
	}
	return &plan
}

// placed reports whether a pod was made for this hop.
func (p *planner) placed(pod *corev1.Pod) bool {
	return pod.Labels[v1alpha1.LabelMigration] == p.uid() && pod.Annotations[v1alpha1.AnnotationHandover] == p.id()
}

// vacate has the pod that the state has left go while the way back is being
// prepared: nobody must read the old state there. Its owner makes it again,
// steered to the target node, where the shim waits for the checkpoint.
func (p *planner) vacate() *Plan {
	var plan Plan
	switch next := hopID(p.Object.UID, max(p.status.Hop, 1)+1); {
	case p.Hostname == "":
		plan = p.outlast("the label " + corev1.LabelHostname + " of the node " + p.status.TargetNode)
		return &plan
	case p.status.Placement == nil || p.status.Placement.Handover != next:
		p.place(max(p.status.Hop, 1) + 1)
	}
	if p.present(RoleSource) && p.Source.Pod.DeletionTimestamp == nil {
		plan = p.act(DeletePod{Name: p.Source.Pod.Name, UID: p.status.SourcePodUID})
		return &plan
	}
	hold := Marks{Handover: p.id(), Keys: []string{p.id()}, KeepDecision: true}
	if !p.Done[hold.Step()] {
		// It lets a process that starts in the shadow take over at once. From here
		// on one that does is to find the next hop's hold.
		plan = p.act(RemoveMarks{Marks: []Marks{hold}})
		return &plan
	}
	return nil
}

// ownerTrouble says why the owner does not want this pod any more, or would make
// another than it was.
func (p *planner) ownerTrouble() string {
	if p.status.Owner == nil || p.Owner == nil {
		return ""
	}
	name := p.Object.Spec.SourcePod.Name
	if why := p.Owner.Unwanted(p.status.Owner.UID, name); why != "" {
		return why
	}
	if p.unsettled() {
		return "" // its revisions are those of an earlier spec
	}
	return p.Owner.Rollout(revised(name, *p.status.Owner))
}

// unsettled reports whether the owner's controller has not seen its newest spec
// yet: no moment to give up, nor to take a step that leads no way back.
func (p *planner) unsettled() bool {
	return p.status.Owner != nil && p.Owner != nil && p.Owner.Present && !p.Owner.Settled
}

// revised is a pod of a name and a revision: the one that was found in the
// preflight may be gone.
func revised(name string, ref v1alpha1.WorkloadReference) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{appsv1.StatefulSetRevisionLabel: ref.Revision},
	}}
}
