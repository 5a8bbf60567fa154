package migration

import (
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

const (
	// paceHolds is how long a source keeps a pace without hearing of it again.
	paceHolds = 6 * time.Second
	// glance is how long a replay is looked at before the source is slowed down: a
	// pace that was not needed costs little, so little is needed to decide on it.
	glance = 100 * time.Millisecond
	// toWake is about the least time from an archive to the copy that wakes from it.
	toWake = 500 * time.Millisecond
	// beforehandMost is how long a pace is kept for a copy that has not woken yet, and may never.
	beforehandMost = 2 * time.Second
	// paceSeen is how long it takes until a pace shows in the lag.
	paceSeen = 500 * time.Millisecond
	// paceMost is the longest pace that the protocol has.
	paceMost = time.Second
)

// Pace is how far apart the source is to begin messages, so that the copy
// catches up soon; 0: it does so by itself, or no pace helps, or it is not known.
// kept is the pace that the source keeps already.
//
// A freeze is a pace without end: it stops the source for lag ÷ μ. A source of the rate
// λ' lets the lag close in lag ÷ (μ−λ'), and keeps about as many messages waiting meanwhile, but
// none longer than the pace. So the rate is what closes it in time, μ − lag ÷ within, but no
// less than a message per longest; and for a service that takes long for a message, one
// in the time that the copy needs for two. docs/decisions/0018 has the reasons.
func (f Forecast) Pace(kept, longest, within time.Duration) time.Duration {
	if f.Messages == 0 || f.Replay <= 0 || f.Arrival < 0 {
		return 0
	}
	arrival := f.Arrival // over the last seconds: a pace is younger
	if kept > 0 {
		arrival = min(arrival, 1/kept.Seconds())
	}
	if float64(f.Messages) <= (f.Replay-arrival)*within.Seconds() {
		return 0
	}
	longest = min(max(longest, perSecond(f.Replay/2)), paceMost)
	rate := max(f.Replay-float64(f.Messages)/within.Seconds(), 1/longest.Seconds())
	if rate >= f.Replay || rate >= arrival {
		return 0
	}
	return perSecond(rate)
}

// perSecond is the time from one to the next of so many per second, in whole
// milliseconds, of which a duration can hold so many.
func perSecond(rate float64) time.Duration {
	return time.Duration(min(math.Ceil(1000/rate), 1e6)) * time.Millisecond
}

// beforehand slows the source down while its copy is on its way, if that could not catch up
// soon: each message fewer until it wakes is one fewer to catch up with. What the source
// says of its own capacity is taken for the copy's; if it says nothing, it is left alone until the copy
// is seen. nil: the source knows.
func (p *planner) beforehand() *Plan {
	if p.sequential() || p.state(RoleSource) != handover.Relaying {
		return nil
	}
	switch t := p.status.Throttle; {
	case p.settings.Throttle == v1alpha1.ThrottleNever:
		return nil
	case p.unsettled(), t != nil && p.late(t.Since.Add(beforehandMost)):
		p.unthrottle()
	case t == nil:
		s := p.Source.Report.Status
		f := Forecast{
			Messages: int64(s.Confirmed) - p.positions().Checkpoint + int64(s.Rate*toWake.Seconds()),
			Arrival:  s.Rate, Replay: s.Capacity,
		}
		p.keepPace(f.Pace(p.kept(), p.Policy.Pace, p.Policy.CatchUp))
	}
	if sent, _ := p.sent(RoleSource, handover.Hello); sent.PaceMillis == p.pace().Milliseconds() {
		return nil
	}
	plan := p.send(RoleSource, handover.Hello)
	return &plan
}

// throttle decides whether the source is to be slowed down. While it is, the
// pace only grows longer: a shorter one would let the lag that it closes come again.
func (p *planner) throttle(f Forecast) {
	t := p.status.Throttle
	switch {
	case p.settings.Throttle == v1alpha1.ThrottleNever, f.Stuck, p.unsettled():
		// Nothing is gained by it: the copy applies nothing, or may not be switched to.
		p.unthrottle()
		return
	case len(p.Samples) == 0 || p.Now.Sub(p.Samples[0].At) < glance:
		return
	case p.pace() > 0 && p.Now.Sub(t.ChangedAt.Time) < paceSeen:
		return
	}
	p.keepPace(f.Pace(p.kept(), p.Policy.Pace, p.Policy.CatchUp))
}

// keepPace has the source keep a pace from now on, if it is longer than the one it is to keep.
func (p *planner) keepPace(pace time.Duration) {
	if pace <= p.pace() {
		return
	}
	t, at := p.status.Throttle, metav1.NewMicroTime(p.Now)
	if t == nil {
		t = &v1alpha1.Throttle{Since: at}
		p.status.Throttle = t
	}
	if t.EndedAt != nil {
		t.Since, t.EndedAt = at, nil
	}
	t.ChangedAt, t.PaceMillis = at, pace.Milliseconds()
}

// unthrottle ends it. A source that is not told so hears it with the next command.
func (p *planner) unthrottle() {
	t := p.status.Throttle
	if t == nil || t.EndedAt != nil {
		return
	}
	at := metav1.NewMicroTime(p.Now)
	t.TotalMillis += at.Sub(t.Since.Time).Milliseconds()
	t.ChangedAt, t.EndedAt = at, &at
}

// pace is what the source is to keep now; 0: none.
func (p *planner) pace() time.Duration {
	t := p.status.Throttle
	if t == nil || t.EndedAt != nil || p.givingUp() {
		return 0
	}
	return time.Duration(t.PaceMillis) * time.Millisecond
}

// kept is the pace that the source says it keeps; 0: none, or it knows none.
func (p *planner) kept() time.Duration {
	return time.Duration(p.Source.Report.Status.PaceMillis) * time.Millisecond
}

// blink is the rest of a replay that is worth freezing for at once. A source that keeps
// a pace leaves its copy time to come nearer: waiting for it is sure to end, but for the
// last message. Reports come at intervals, and if those are a multiple of the pace, each of
// them is written just after a message that the copy has yet to apply.
func (p *planner) blink(f Forecast) time.Duration {
	if p.pace() > 0 && p.kept() > 0 && f.Messages > 1 {
		return p.Policy.Blink / 4
	}
	return p.Policy.Blink
}

// tellSource has the source hear what holds in this phase: how often to report,
// for the cut-off goes by what it says, and which pace to keep.
func (p *planner) tellSource() *Plan {
	sent, ok := p.sent(RoleSource, handover.Hello)
	if ok && !sent.At.Before(p.since()) && sent.PaceMillis == p.pace().Milliseconds() {
		return nil
	}
	plan := p.send(RoleSource, handover.Hello)
	return &plan
}

// paceText tells people of the pace.
func (p *planner) paceText() string {
	if p.pace() == 0 {
		return ""
	}
	return fmt.Sprintf("; the source begins messages %d ms apart", p.status.Throttle.PaceMillis)
}
