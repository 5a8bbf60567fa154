package migration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// finalizing freezes the source and waits for the target, which decides
// without the manager.
func (p *planner) finalizing() Plan {
	deadline := p.until(p.settings.Deadlines.FinalizeSeconds)
	if reason, message, ok := p.targetTrouble(); !ok {
		return p.giveUp(reason, message)
	}
	if !p.frozen() {
		if plan := p.needSource(); plan != nil {
			return *plan
		}
	}
	if plan := p.targetMute(); plan != nil {
		return *plan
	}
	if p.late(deadline) {
		return p.giveUp(ReasonDeadline, p.overdue(v1alpha1.ConditionReplayed, "deadlines.finalizeSeconds"))
	}
	switch state := p.state(RoleSource); {
	case p.frozen():
	case p.takesOver():
		return p.ask(RoleTarget, handover.TakeOver, deadline, "the target to take over")
	case state == handover.Relaying:
		if no := p.refused(RoleSource, handover.Freeze); no != nil {
			// It relays on, and nothing is lost: it is asked once more.
			p.set(v1alpha1.ConditionReplayed, metav1.ConditionFalse, string(no.Reason), "the source refused FREEZE: %s", words(no))
		}
		p.freezes()
		return p.ask(RoleSource, handover.Freeze, deadline, "FROZEN of the source")
	case state == handover.Frozen:
		p.noteEnd()
		p.set(v1alpha1.ConditionReplayed, metav1.ConditionFalse, ReasonFrozen, "the source is frozen at message %d", p.positions().End)
	}
	return p.wait(deadline, "the target to go live")
}

// frozen reports whether END_REPLAY is known to be written: from then on the
// target needs nothing more of the source.
func (p *planner) frozen() bool {
	c := p.get(v1alpha1.ConditionReplayed)
	return c != nil && c.Reason == ReasonFrozen
}

// commit takes note that COMMIT stands. From here on there is only forward.
func (p *planner) commit() Plan {
	p.forgive()
	if p.sequential() && p.state(RoleTarget) != handover.Live && p.status.Phase != v1alpha1.PhaseFinalizing {
		p.set(v1alpha1.ConditionCommitted, metav1.ConditionTrue, ReasonCommitted, "COMMIT stands at the broker: the state is in the image and the replay queue")
		p.noteEnd()
		p.set(v1alpha1.ConditionReplayed, metav1.ConditionFalse, ReasonFrozen, "END_REPLAY is written; the source has ceded")
		return p.forward()
	}
	p.enter(v1alpha1.PhaseFinalizing)
	p.set(v1alpha1.ConditionCommitted, metav1.ConditionTrue, ReasonCommitted, "COMMIT stands at the broker: the target owns the state")
	p.set(v1alpha1.ConditionReplayed, metav1.ConditionTrue, ReasonDone, "the copy has applied everything up to END_REPLAY")
	return p.forward()
}

func (p *planner) committed() bool { return p.is(v1alpha1.ConditionCommitted) }

// noteLive takes note of the target's going live, and of the pause that it ends.
func (p *planner) noteLive() {
	if p.state(RoleTarget) != handover.Live {
		return
	}
	p.noteRestored() // START_REPLAY goes ahead of its record: an earlier process may not have come to that
	if p.status.Pauses == nil {
		p.status.Pauses = &v1alpha1.Pauses{}
	}
	if p.status.Pauses.HandoverMillis == nil {
		// After a takeover from the start of the phase: when the source ended is
		// not known.
		from := p.since()
		if p.status.FrozenAt != nil {
			from = p.status.FrozenAt.Time // recorded before FREEZE was sent
		}
		if sent, ok := p.sent(RoleSource, handover.Freeze); ok && sent.First.After(from) {
			from = sent.First
		}
		// Its word is older than this look at it if a write was under way.
		live := p.Now
		if heard := p.Target.Heard; heard.After(from) && heard.Before(live) {
			live = heard
		}
		pause := live.Sub(from).Milliseconds()
		p.status.Pauses.HandoverMillis = &pause
		p.positions().Target = int64(p.Target.Report.Status.Number)
		p.set(v1alpha1.ConditionReplayed, metav1.ConditionTrue, ReasonDone, "the copy has applied everything up to END_REPLAY")
		p.status.Lag = &v1alpha1.Lag{Seconds: "0.000"}
		if len(p.status.Series) > 0 {
			p.record(Forecast{Arrival: -1, Replay: -1}, true)
		}
	}
	p.noteEnd()
}

// noteEnd takes note of the number in END_REPLAY, which the source has told if
// it is frozen or retired. The target's LIVE may be heard before the source's FROZEN:
// they come over two connections.
func (p *planner) noteEnd() {
	if s := p.state(RoleSource); p.ours(RoleSource) && (s == handover.Frozen || s == handover.Retired) {
		p.positions().End = int64(p.Source.Report.Status.Number)
	}
}

// positions of the status, to be written to.
func (p *planner) positions() *v1alpha1.Positions {
	if p.status.Positions == nil {
		p.status.Positions = &v1alpha1.Positions{}
	}
	return p.status.Positions
}
