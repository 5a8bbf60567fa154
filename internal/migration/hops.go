package migration

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// A migration is a sequence of hops: see docs/decisions/0012. The state of a
// StatefulSet's pod goes into a shadow first, and from there into the pod that
// the StatefulSet makes again.

func (p *planner) sequential() bool { return p.status.Strategy == v1alpha1.StrategySequential }

// ownedBy reports whether the pod belongs to a workload of that kind.
func (p *planner) ownedBy(kind owner.Kind) bool {
	return p.status.Owner != nil && p.status.Owner.Kind == string(kind)
}

// recreated reports whether the target of this hop is made by the pod's owner.
func (p *planner) recreated() bool { return p.sequential() || p.status.Hop > 1 }

// outward reports whether this hop leads away from the StatefulSet's pod, into
// the shadow, and is to be followed by another that leads back.
func (p *planner) outward() bool {
	return p.ownedBy(owner.StatefulSet) && !p.recreated()
}

// nextHop begins the way back, from the shadow into the StatefulSet's pod.
func (p *planner) nextHop() Plan {
	p.endHop(ReasonCommitted)
	st := p.status
	st.SourcePodName, st.SourcePodUID, st.SourceNode = st.TargetPodName, st.TargetPodUID, st.TargetNode
	st.TargetPodName, st.TargetPodUID = p.Object.Spec.SourcePod.Name, ""
	p.set(v1alpha1.ConditionReturned, metav1.ConditionFalse, ReasonWaiting,
		"the state lives in the pod %q until the pod %q can take it over", st.SourcePodName, st.TargetPodName)
	return p.beginHop()
}

// retryHop ends a hop that was given up, and tries it again as another.
func (p *planner) retryHop() Plan {
	c := p.get(v1alpha1.ConditionSucceeded)
	p.endHop(c.Reason)
	p.set(v1alpha1.ConditionReturned, metav1.ConditionFalse, c.Reason,
		"hop %d failed and is tried again; the state lives in the pod %q: %s", p.status.Hop, p.status.SourcePodName, c.Message)
	p.forgive()
	p.status.TargetPodUID = ""
	return p.beginHop()
}

// endHop sums the present hop up.
func (p *planner) endHop(result string) {
	st := p.status
	if n := len(st.PhaseTimes); n > 0 {
		took := p.Now.Sub(st.PhaseTimes[n-1].StartedAt.Time).Milliseconds()
		st.PhaseTimes[n-1].DurationMillis = &took
	}
	st.Hops = append(st.Hops, v1alpha1.Hop{
		Hop: max(st.Hop, 1), Result: result, EndedAt: metav1.NewMicroTime(p.Now),
		SourcePodName: p.sourceName(), SourcePodUID: st.SourcePodUID, SourceNode: st.SourceNode,
		TargetPodName: st.TargetPodName, TargetNode: st.TargetNode,
		Attempts: st.Attempt, CheckpointImage: st.CheckpointImage,
		Positions: st.Positions, Series: st.Series, Cutoff: st.Cutoff, Throttle: st.Throttle, Pauses: st.Pauses, PhaseTimes: st.PhaseTimes,
	})
}

// beginHop begins another hand-over: what the status says of the last is summed
// up in its hops.
func (p *planner) beginHop() Plan {
	st := p.status
	st.Hop = max(st.Hop, 1) + 1
	st.Attempt, st.AttemptEpoch, st.AttemptStartedAt = 0, 0, nil
	st.CheckpointID, st.CheckpointImage, st.FrozenAt = "", nil, nil
	st.Positions, st.Lag, st.Series, st.Cutoff, st.Throttle, st.Pauses, st.PhaseTimes = nil, nil, nil, nil, nil, nil, nil
	for _, kind := range []string{
		v1alpha1.ConditionBuffered, v1alpha1.ConditionCheckpointed, v1alpha1.ConditionTransferred, v1alpha1.ConditionRestored,
		v1alpha1.ConditionCutOff, v1alpha1.ConditionTakeover, v1alpha1.ConditionReplayed, v1alpha1.ConditionCommitted,
		v1alpha1.ConditionServing,
	} {
		meta.RemoveStatusCondition(&st.Conditions, kind)
	}
	p.intendBuffer()
	p.back(v1alpha1.PhaseCheckpointing)
	// Everything that was observed is about the hop that has ended.
	return Plan{Until: p.Now, For: "the next hop"}
}

// retryAt is when a hop that follows a failed one may begin.
func (p *planner) retryAt() time.Time {
	failures := 0
	for _, h := range p.status.Hops {
		if h.Result != ReasonCommitted {
			failures++
		}
	}
	if failures == 0 {
		return time.Time{}
	}
	last := p.status.Hops[len(p.status.Hops)-1]
	if p.shadowHeld() && last.Result != ReasonSourceRestarted {
		return time.Time{} // at once, but not again and again, should nobody be live then either
	}
	return last.EndedAt.Add(min(p.Policy.HopPause<<min(failures-1, 10), p.Policy.HopPauseMax))
}

// shadowHeld reports whether a process that has started anew in the shadow waits there, and
// nobody is live. Before this hop has holds it finds the lasting one of the hop that led
// there, with COMMIT, whose end may be far. Under this hop's it waits for this hop's
// decision: ABORT lets it begin.
func (p *planner) shadowHeld() bool {
	return p.status.Hop > 1 && !p.is(v1alpha1.ConditionBuffered) && p.alive(RoleSource) && p.state(RoleSource) == handover.Held
}

// marks are what the hop has left at the broker and is still to be removed; those of the
// hops before it, too, when the whole migration ends.
func (p *planner) marks() []Marks {
	all := []Marks{{Handover: p.id(), Keys: p.holdKeys(p.status.Hop, p.sourceName(), p.status.SourcePodUID)}}
	for _, h := range p.outlived() {
		all = append(all, Marks{
			Handover: hopID(p.Object.UID, h.Hop),
			Keys:     p.holdKeys(h.Hop, h.SourcePodName, h.SourcePodUID),
		})
	}
	return slices.DeleteFunc(all, func(m Marks) bool { return p.Done[m.Step()] })
}

// outlived are the hops whose traces are kept for the next: their holds bind
// whoever starts in the pod's place. Nothing of theirs is left when the present hop
// ends without another.
func (p *planner) outlived() []v1alpha1.Hop {
	if p.retries() {
		return nil
	}
	var out []v1alpha1.Hop
	for _, h := range p.status.Hops {
		if h.Result == ReasonCommitted {
			out = append(out, h)
		}
	}
	return out
}

// retries reports whether the present hop, given up, is followed by another: the
// state has left its pod and has to come back. If the shadow is gone, there is
// nothing to bring back.
func (p *planner) retries() bool {
	return p.status.Hop > 1 && p.givingUp() && p.alive(RoleSource)
}

// replayQueues are what is still to be deleted at the end of this hop. More than there
// were, if the shadow is lost while a hop from it is tidied up: see outlived.
func (p *planner) replayQueues() []string {
	all := []string{p.replayQueue()}
	for _, h := range p.outlived() {
		all = append(all, ReplayQueue(p.Object, h.Hop))
	}
	return slices.DeleteFunc(all, func(queue string) bool { return p.Done[StepReplayQueueGone(queue)] })
}

// images are what is still to be deleted at the end of this hop.
func (p *planner) images() []string {
	var all []string
	if image := p.status.CheckpointImage; image != nil {
		all = append(all, image.Reference)
	}
	for _, h := range p.outlived() {
		if h.CheckpointImage != nil {
			all = append(all, h.CheckpointImage.Reference)
		}
	}
	return slices.DeleteFunc(all, func(image string) bool { return p.Done[StepImageDeleted(image)] })
}
