package migration

import (
	"fmt"
	"math"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Limits are what a migration may cost.
type Limits struct {
	Blink  time.Duration // a gap that is always worth it
	Cutoff time.Duration // a gap that is acceptable: spec.replayCutoffSeconds
	Left   time.Duration // of deadlines.replaySeconds
}

// Cut says whether the source is to be frozen now, by which rule, and why.
// Freezing never drops a message: what is outstanding is applied while the source
// stands still, so the gap is lag ÷ μ. Waiting is worth while as long as
// the lag shrinks; the rules are those moments at which it gains nothing more.
//
// The paper (arXiv 2509.05794) stops the source at T_cutoff = T_replay_max · μ / λ: what accumulates
// until then, λ · T_cutoff, takes T_replay_max to replay. It looks only at what accumulates, because its copy does
// not replay before. Ours does while the source goes on: after t seconds lag + (λ−μ)·t is
// outstanding, and takes (lag + (λ−μ)·t) ÷ μ. With t = 0 at the beginning of the log (lag = λ · T,
// nothing applied) "lag ÷ μ has reached the cut-off" is T = T_cutoff. From there
// on the sign of λ−μ says whether waiting helps, and lag ÷ (μ−λ) how long to
// wait for nothing to be outstanding. λ is counted over seconds, so a difference
// that may be chance is not judged by. docs/decisions/0008-cut-off.md has the reasons.
func (f Forecast) Cut(l Limits) (reason, why string, freeze bool) {
	within := f.Gap >= 0 && f.Gap <= l.Cutoff.Seconds()
	switch {
	case f.Messages == 0:
		return ReasonCaughtUp, "nothing is outstanding", true
	case f.Gap >= 0 && f.Gap <= l.Blink.Seconds():
		return ReasonCaughtUp, "the rest is applied in a blink", true
	case l.Left <= 0:
		return ReasonDeadline, "the replay has taken longer than deadlines.replaySeconds", true
	case f.Stuck:
		return "", "the copy applies nothing: a freeze would not end", false
	case f.Steady && f.Replay > 0 && f.Arrival+f.Chance >= f.Replay:
		return ReasonOutpaced, "as much arrives as is replayed, or more: the lag will not shrink", true
	case f.Steady && f.Gap > l.Cutoff.Seconds():
		return ReasonCutoff, "the lag is above replayCutoffSeconds and does not shrink", true
	case f.Watched && within && f.Replay-f.Arrival+f.Chance < float64(f.Messages)/l.Left.Seconds():
		return ReasonTooSlow, "the lag is within replayCutoffSeconds and will not close before deadlines.replaySeconds", true
	}
	return "", "the copy catches up", false
}

// figures tells the numbers behind a decision to people.
func (f Forecast) figures(cutoff int32) string {
	s := fmt.Sprintf("%d messages outstanding", f.Messages)
	if f.Gap >= 0 {
		s += fmt.Sprintf(" (%.3f s)", f.Gap)
	}
	if f.Arrival >= 0 {
		s += fmt.Sprintf(", %.1f/s arrive", f.Arrival)
	}
	if f.Replay > 0 {
		s += fmt.Sprintf(", %.1f/s can be replayed", f.Replay)
	}
	switch {
	case math.IsInf(f.CatchUp, 1):
		s += ", the lag never closes"
	case f.CatchUp > 0:
		s += fmt.Sprintf(", the lag closes in %.1f s", f.CatchUp)
	}
	return s + fmt.Sprintf(", cut-off %d s", cutoff)
}

// cut decides, and notes the decision with its figures.
func (p *planner) cut(f Forecast, deadline time.Time) bool {
	cutoff := p.settings.ReplayCutoffSeconds
	reason, why, freeze := f.Cut(Limits{Blink: p.blink(f), Cutoff: seconds(cutoff), Left: deadline.Sub(p.Now)})
	if !freeze {
		reason = ReasonWaiting
		if !p.due() {
			return false
		}
	}
	status := metav1.ConditionFalse
	if freeze {
		status = metav1.ConditionTrue
	}
	p.report(f)
	p.record(f, freeze)
	p.set(v1alpha1.ConditionCutOff, status, reason, "%s: %s", why, f.figures(cutoff)+p.paceText())
	p.status.Cutoff = &v1alpha1.Cutoff{
		Reason:             reason,
		LimitSeconds:       cutoff,
		LagMessages:        f.Messages,
		ExpectedGapSeconds: decimal(f.Gap),
		ArrivalRate:        decimal(f.Arrival),
		ReplayRate:         decimal(f.Replay),
		CatchUpSeconds:     decimal(f.CatchUp),
	}
	return freeze
}

// due reports whether mere progress is to be written: not with every report.
func (p *planner) due() bool { return p.Now.Sub(p.LastWrite) >= p.Policy.StatusEvery }

// report writes positions and lag into the status.
func (p *planner) report(f Forecast) {
	p.positions().Source = int64(p.Source.Report.Status.Confirmed)
	p.positions().Target = int64(p.Target.Report.Status.Number)
	p.status.Lag = &v1alpha1.Lag{Messages: f.Messages, Seconds: decimal(f.Gap)}
}

// decimal writes a number as the API has it; what is not known, or infinite, is left out.
func decimal(x float64) string {
	if x < 0 || math.IsInf(x, 1) {
		return ""
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}
