package migration

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// giveUp begins the way back. The reason is recorded before anything is undone,
// so that a restarted manager undoes it too; the phase stays what it was until
// nothing is left behind.
func (p *planner) giveUp(reason, message string) Plan {
	if p.committed() {
		return p.again(reason, message) // only an heirless migration can still fail
	}
	if !p.givingUp() {
		p.set(v1alpha1.ConditionSucceeded, metav1.ConditionFalse, reasonWord(reason), advised(reason, message))
	}
	return p.abort()
}

func (p *planner) givingUp() bool {
	return meta.IsStatusConditionFalse(p.status.Conditions, v1alpha1.ConditionSucceeded)
}

// forgive takes a giving-up back: COMMIT had been written first.
func (p *planner) forgive() {
	meta.RemoveStatusCondition(&p.status.Conditions, v1alpha1.ConditionSucceeded)
}

// reasonWord makes sure that a condition has a reason, which the API requires.
func reasonWord(reason string) string {
	if reason == "" {
		return ReasonAborted
	}
	return reason
}

// abort goes the way back: ABORT at the broker, the source live, the target
// gone, nothing left. It turns round if COMMIT was written first.
func (p *planner) abort() Plan {
	if !p.buffered() {
		return p.endAbort() // nothing was begun
	}
	switch p.decided() {
	case Committed:
		return p.commit()
	case Aborted:
		p.set(v1alpha1.ConditionCommitted, metav1.ConditionFalse, ReasonAborted, "ABORT stands at the broker: the source keeps the state")
	default:
		return p.act(WriteAbort{})
	}
	if plan := p.releaseSource(); plan != nil {
		return *plan
	}
	// The target may go now, and not before: had it won with COMMIT, it would
	// have been the only one that has the state. Its deletion is the proof that
	// it has read the decision or never will; it owns nothing that it would have
	// to finish, so it gets no time to.
	lost := p.status.Hop > 1 && !p.retries() // with the shadow: see stranded
	switch {
	case p.retries(): // its owner makes it again at once, for the next hop
		p.place(p.status.Hop + 1)
	case p.recreated() && !lost: // as any pod
		p.status.Placement = nil
	}
	if p.present(RoleTarget) || !lost && p.strayTarget() {
		return *p.dismiss(p.Target.Pod)
	}
	steps := []func() *Plan{p.tidy}
	if lost { // otherwise a pod that is not of this hop is the next one's
		steps = []func() *Plan{p.stranded, p.tidy, p.unplace}
	}
	for _, step := range steps {
		if plan := step(); plan != nil {
			return *plan
		}
	}
	p.cleaned()
	return p.endAbort()
}

// endAbort ends a hop that was given up, and the migration unless the state has
// to come back from a shadow.
func (p *planner) endAbort() Plan {
	if p.retries() {
		return p.retryHop()
	}
	return p.fail()
}

// awaited is the end of the wait of a target that goes, for a checkpoint that was
// not staged and never will be. The kubelet is inside the start of the container,
// and takes the pod away only when the shim's patience has ended, after 90 s.
func (p *planner) awaited() (Withdraw, bool) {
	pod := p.Target.Pod
	if pod.Spec.NodeName == "" || p.Done[StepWithdrawn(pod.UID)] ||
		p.Stage != nil && complete(p.Stage).Status == metav1.ConditionTrue {
		return Withdraw{}, false
	}
	return Withdraw{Leg: p.stageLeg(pod), Pod: pod.UID}, true
}

// strayTarget reports whether a target pod of this hop exists whose UID was not
// recorded: the manager died between the two. One that its owner has made for the next hop
// already is none; it would be deleted and made again for ever.
func (p *planner) strayTarget() bool {
	pod := p.Target.Pod
	return pod != nil && pod.UID != p.status.SourcePodUID && p.placed(pod) && pod.Name == p.status.TargetPodName
}

// releaseSource tells the source to read the decision, until it says that it is
// live, or its process is proven gone.
func (p *planner) releaseSource() *Plan {
	if p.status.Attempt == 0 && p.state(RoleSource) != handover.Held || !p.alive(RoleSource) {
		return nil
	}
	if r := p.Source.Report; r != nil && r.Status.State == handover.Live &&
		(p.ours(RoleSource) && r.Status.Decision == handover.Aborted || r.Answers == handover.Abort) {
		return nil
	}
	sent, ok := p.sent(RoleSource, handover.Abort)
	if ok && p.late(sent.First.Add(p.Policy.Patience)) {
		return nil // see marksNeeded: the decision is left for it to find
	}
	plan := p.ask(RoleSource, handover.Abort, p.abandonAt(), "the source to be live again")
	return &plan
}

// fail ends the migration.
func (p *planner) fail() Plan {
	p.status.Placement = nil
	p.enter(v1alpha1.PhaseFailed)
	return Plan{Ended: true}
}
