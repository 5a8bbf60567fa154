package migration

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// serve lets Services send to the target, tells the source that it has been
// succeeded, and waits until the target is Ready: the source goes after it, so
// that there is always somebody to answer.
func (p *planner) serve() *Plan {
	if !p.alive(RoleTarget) {
		return nil // its owner's, or nobody's, affair: see fault 24
	}
	var plan Plan
	switch {
	case liveGated(p.Target.Pod) && podCondition(p.Target.Pod, v1alpha1.ConditionLive) != corev1.ConditionTrue:
		p.set(v1alpha1.ConditionServing, metav1.ConditionFalse, ReasonWaiting, "the target has the state and is not Ready yet: Services do not send to it")
		plan = p.act(OpenGate{Name: p.Target.Pod.Name, UID: p.Target.Pod.UID})
		return &plan
	case p.is(v1alpha1.ConditionServing):
		return nil
	}
	if plan := p.retire(); plan != nil {
		return plan
	}
	if podCondition(p.Target.Pod, corev1.PodReady) != corev1.ConditionTrue {
		p.set(v1alpha1.ConditionServing, metav1.ConditionFalse, ReasonWaiting, "the target has the state and is not Ready yet: Services do not send to it")
		if patience := p.get(v1alpha1.ConditionServing).LastTransitionTime.Add(p.Policy.Patience); !p.late(patience) {
			plan = p.wait(patience, "the target to be Ready")
			return &plan
		}
		// Its own probes say no. It owns the state all the same, and the source
		// is of no use to anybody.
		return nil
	}
	p.set(v1alpha1.ConditionServing, metav1.ConditionTrue, ReasonDone, "the target is Ready: Services send to it")
	return nil
}

// liveGated reports whether Services are kept from a pod until the gate is opened.
func liveGated(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == v1alpha1.ConditionLive })
}

// retire has the source read COMMIT, if it is there to answer; nil: it has, or
// has had its time. COMMIT forbids it to go on in any case.
func (p *planner) retire() *Plan {
	if !p.alive(RoleSource) || p.state(RoleSource) == handover.Retired {
		return nil
	}
	if sent, ok := p.sent(RoleSource, handover.Retire); ok && (sent.NoInstance || p.late(sent.First.Add(p.Policy.Resend))) {
		return nil
	}
	plan := p.ask(RoleSource, handover.Retire, time.Time{}, "RETIRED of the source")
	return &plan
}

// succeed has the target take the source's place, as the source's owner
// demands; nil: the source is gone, or on its way out.
func (p *planner) succeed() *Plan {
	switch {
	case p.outward():
		return p.vacate()
	case p.ownedBy(owner.ReplicaSet):
		return p.join()
	}
	return p.removeSource()
}

// removeSource deletes the source's pod, and waits until it is gone.
func (p *planner) removeSource() *Plan {
	if !p.present(RoleSource) {
		return nil
	}
	if p.Source.Pod.DeletionTimestamp != nil {
		plan := p.departing(p.Source.Pod, "the source pod to go")
		return &plan
	}
	if plan := p.retire(); plan != nil {
		return plan
	}
	plan := p.act(DeletePod{Name: p.Source.Pod.Name, UID: p.status.SourcePodUID})
	return &plan
}

// join makes the copy a pod of the source's ReplicaSet, which then has one too
// many and removes the source: that has the lowest deletion cost, and the copy the
// highest. A pod that is not ready goes before any other, whatever its cost, so a
// moment is waited for in which all of the ReplicaSet's are.
func (p *planner) join() *Plan {
	var plan Plan
	copied, source := p.Target.Pod, p.Source.Pod
	leaving := p.present(RoleSource) && source.DeletionTimestamp == nil
	switch {
	case p.is(v1alpha1.ConditionAdopted):
	case leaving && source.Annotations[corev1.PodDeletionCost] != LeastCost && !p.alone(source):
		return p.expend(source)
	case !p.present(RoleSource) && p.expendable() != nil:
		return p.expend(p.expendable())
	case p.alive(RoleTarget) && metav1.GetControllerOf(copied) == nil:
		p.set(v1alpha1.ConditionAdopted, metav1.ConditionFalse, ReasonWaiting, "another pod of the %s %q is not ready", p.status.Owner.Kind, p.status.Owner.Name)
		if patience := p.get(v1alpha1.ConditionAdopted).LastTransitionTime.Add(p.Policy.Patience); leaving && p.Owner != nil && p.Owner.Unready > 0 && !p.late(patience) {
			plan = p.wait(earlier(patience, p.Now.Add(p.Policy.Poll)), "the other pods of the %s to be ready", p.status.Owner.Kind)
			return &plan
		}
		labels, ref := p.adoption()
		plan = p.act(Adopt{Name: copied.Name, UID: copied.UID, Labels: labels, Owner: ref, Cost: copied.Annotations[corev1.PodDeletionCost]})
		return &plan
	default:
		p.set(v1alpha1.ConditionAdopted, metav1.ConditionTrue, ReasonDone, "the %s %q has the pod %q", p.status.Owner.Kind, p.status.Owner.Name, p.status.TargetPodName)
	}
	if leaving {
		// It may want another pod by now: then it does not choose.
		if patience := p.get(v1alpha1.ConditionAdopted).LastTransitionTime.Add(p.Policy.Attend); !p.late(patience) {
			plan = p.wait(patience, "the %s %q to remove the source", p.status.Owner.Kind, p.status.Owner.Name)
			return &plan
		}
	}
	if plan := p.removeSource(); plan != nil {
		return plan
	}
	// What the ReplicaSet made in the source's place, if that died, goes before the
	// holds do, under which it has taken nothing; while its process ends, it still could.
	if patience := p.get(v1alpha1.ConditionAdopted).LastTransitionTime.Add(p.Policy.Patience); p.Owner != nil && (p.Owner.Surplus > 0 || p.newcomerLeaves()) && !p.late(patience) {
		plan = p.wait(earlier(patience, p.Now.Add(p.Policy.Poll)), "the %s %q to have as many pods as it wants", p.status.Owner.Kind, p.status.Owner.Name)
		return &plan
	}
	return nil
}

// alone reports whether the ReplicaSet has nobody but the source to choose from beside
// the copy. To annotate the source then would only have its kubelet look at it, and a kubelet
// that has just looked at a pod takes up to a second to begin with its end (generic PLEG).
// That it has one too many says nothing: the cache may show the copy among its pods
// before it shows the copy's owner.
func (p *planner) alone(source *corev1.Pod) bool {
	return p.Owner != nil && p.Owner.Replicas == 1 && len(p.Newcomers) == 0 &&
		source.Annotations[corev1.PodDeletionCost] != MostCost
}

// newcomerLeaves reports whether a newcomer is being deleted.
func (p *planner) newcomerLeaves() bool {
	return slices.ContainsFunc(p.Newcomers, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })
}

// expendable is a pod that the ReplicaSet made in the place of a source that has
// died, and perhaps others with it: under the queue's hold none of them has taken
// anything, so they go before any other. By itself the ReplicaSet would choose
// among those that share a node.
func (p *planner) expendable() *corev1.Pod {
	for i := range p.Newcomers {
		if pod := &p.Newcomers[i]; pod.DeletionTimestamp == nil && pod.Annotations[corev1.PodDeletionCost] != LeastCost {
			return pod
		}
	}
	return nil
}

func (p *planner) expend(pod *corev1.Pod) *Plan {
	plan := p.act(Expend{Name: pod.Name, UID: pod.UID, Cost: pod.Annotations[corev1.PodDeletionCost]})
	return &plan
}

// adoption is what the copy gets when it joins.
func (p *planner) adoption() (map[string]string, metav1.OwnerReference) {
	var source *corev1.Pod
	if p.present(RoleSource) {
		source = p.Source.Pod
	}
	var given map[string]string
	if p.Owner != nil {
		given = p.Owner.Labels
	}
	return Adoption(*p.status.Owner, source, given)
}

// LeastCost is the lowest pod-deletion-cost, MostCost the highest.
const (
	LeastCost = "-2147483648"
	MostCost  = "2147483647"
)

// settled takes from the target, and from newcomers that have stayed, what only
// the migration needed; nil: they are as they were.
func (p *planner) settled() *Plan {
	if p.present(RoleTarget) && p.Target.Pod.Labels[v1alpha1.LabelMigration] == p.uid() {
		return p.restorePod(p.Target.Pod)
	}
	for i := range p.Newcomers {
		if pod := &p.Newcomers[i]; costed(pod) {
			return p.restorePod(pod)
		}
	}
	return nil
}

// costed reports whether a pod's deletion cost is ours.
func costed(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[v1alpha1.AnnotationDeletionCost]
	return ok && pod.DeletionTimestamp == nil
}

func (p *planner) restorePod(pod *corev1.Pod) *Plan {
	settle := SettleTarget{Name: pod.Name, UID: pod.UID}
	if cost, ok := pod.Annotations[v1alpha1.AnnotationDeletionCost]; ok {
		settle.Cost = &cost
	}
	plan := p.act(settle)
	return &plan
}

func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}
