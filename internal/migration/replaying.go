package migration

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// replaying lets the copy catch up and chooses the moment of the cut-off.
func (p *planner) replaying() Plan {
	if plan := p.needSource(); plan != nil {
		return *plan
	}
	if reason, message, ok := p.targetTrouble(); !ok {
		return p.giveUp(reason, message)
	}
	if why := p.ownerTrouble(); why != "" {
		return p.giveUp(ReasonOwnerChanged, why)
	}
	if plan := p.targetMute(); plan != nil {
		return *plan
	}
	if p.state(RoleSource) == handover.Relaying && !p.takesOver() {
		p.set(v1alpha1.ConditionReplayed, metav1.ConditionFalse, ReasonWaiting, "the copy catches up; the source goes on, so END_REPLAY is not written yet")
	}
	deadline := p.until(p.settings.Deadlines.ReplaySeconds)
	if plan := p.startReplay(deadline); plan != nil {
		return *plan
	}
	if p.takesOver() {
		p.set(v1alpha1.ConditionReplayed, metav1.ConditionFalse, ReasonTakeover, "the source has ended: the copy applies what it left, and takes over")
		p.enter(v1alpha1.PhaseFinalizing)
		return p.finalizing()
	}
	lag, ok := Measure(p.Now, p.Source.Report, p.Target.Report)
	if !ok || p.state(RoleSource) != handover.Relaying {
		if p.late(deadline.Add(p.Policy.Patience)) {
			return p.giveUp(ReasonSourceMute, "the source does not relay")
		}
		return p.wait(p.Now.Add(p.Policy.Poll), "the source to say where it stands")
	}
	silent := p.Target.silent(p.Now, p.Policy.Resend)
	if silent {
		p.unthrottle()
	}
	if plan := p.tellSource(); plan != nil {
		return *plan
	}
	if silent {
		// What it said last is no ground to stop the source on, not even at the deadline.
		return p.wait(p.Now.Add(p.Policy.Poll), "the target to be heard of again")
	}
	if t := p.status.Throttle; t != nil && p.kept() > 0 {
		t.Kept = true
	}
	f := Foresee(p.Samples, lag, p.Policy.Trend)
	if p.unsettled() && !p.late(deadline) || !p.cut(f, deadline) {
		p.throttle(f)
		if plan := p.tellSource(); plan != nil {
			return *plan
		}
		return p.wait(earlier(p.Now.Add(p.Policy.Poll), deadline), "the copy to catch up")
	}
	p.enter(v1alpha1.PhaseFinalizing)
	return p.finalizing()
}

// startReplay has the copy begin; nil: it has.
func (p *planner) startReplay(deadline time.Time) *Plan {
	var plan Plan
	switch p.state(RoleTarget) {
	case handover.Replaying:
		return nil
	case handover.Restored:
		no := p.refused(RoleTarget, handover.StartReplay)
		switch {
		case no != nil:
			plan = p.giveUp(reasonOf(no, ReasonTargetRejected), "the target refused START_REPLAY: "+words(no))
		case p.late(deadline):
			plan = p.giveUp(ReasonDeadline, "the target has not begun to replay")
		default:
			plan = p.ask(RoleTarget, handover.StartReplay, deadline, "REPLAYING of the target")
		}
	default: // unknown after a restart of the manager
		if p.late(deadline.Add(p.Policy.Patience)) {
			plan = p.giveUp(ReasonTargetLost, "the target does not say where it stands")
			break
		}
		plan = p.wait(p.Now.Add(p.Policy.Poll), "the target to say where it stands")
	}
	return &plan
}
