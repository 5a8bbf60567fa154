package migration

import (
	"strconv"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// Sample is the lag of the target at one moment.
type Sample struct {
	At       time.Time
	Messages int64
	Seconds  float64 // that the target needs for them; negative: its rate is not known
}

// Measure is the lag between two reports. The two are not of the same moment:
// whichever is older makes the lag look smaller or larger by what was handled
// in between, at most one interval of reports.
func Measure(now time.Time, source, target *handover.Report) (Sample, bool) {
	if source == nil || target == nil || target.Status.State != handover.Replaying {
		return Sample{}, false
	}
	s := Sample{At: now, Seconds: -1}
	if source.Status.Confirmed > target.Status.Number {
		s.Messages = int64(source.Status.Confirmed - target.Status.Number)
	}
	switch rate := target.Status.Rate; {
	case s.Messages == 0:
		s.Seconds = 0
	case rate > 0:
		s.Seconds = float64(s.Messages) / rate
	}
	return s, true
}

// Remember adds a sample and forgets those that are older than the trend needs.
func Remember(samples []Sample, s Sample, trend time.Duration) []Sample {
	const spacing = 10 // samples per trend are enough to see a slope
	if n := len(samples); n > 0 && s.At.Sub(samples[n-1].At) < trend/spacing {
		return samples
	}
	for len(samples) > 1 && s.At.Sub(samples[1].At) >= trend {
		samples = samples[1:]
	}
	return append(samples, s)
}

// cutoff says whether the source is to be frozen now, and why. Freezing never
// drops a message: what is outstanding is applied while the source stands still.
func (p *planner) cutoff(lag Sample) (reason, message string, freeze bool) {
	limit := float64(p.Object.Spec.ReplayCutoffSeconds)
	switch {
	case lag.Messages == 0:
		return ReasonCaughtUp, "nothing is outstanding", true
	case lag.Seconds >= 0 && lag.Seconds <= p.Policy.Blink.Seconds():
		return ReasonCaughtUp, "the rest is applied in a blink", true
	case lag.Seconds > limit && p.stalled(lag):
		return ReasonCutoff, "the lag is above replayCutoffSeconds and does not shrink", true
	case p.late(p.until(p.Object.Spec.Deadlines.ReplaySeconds)):
		return ReasonDeadline, "the replay has taken longer than deadlines.replaySeconds", true
	}
	return "", "", false
}

// stalled reports whether the lag has not shrunk over a whole trend.
func (p *planner) stalled(lag Sample) bool {
	if len(p.Samples) == 0 || lag.At.Sub(p.Samples[0].At) < p.Policy.Trend {
		return false
	}
	return lag.Messages >= p.Samples[0].Messages
}

// report writes positions and lag into the status, not with every report.
func (p *planner) report(lag Sample, always bool) {
	if !always && p.Now.Sub(p.LastWrite) < p.Policy.StatusEvery {
		return
	}
	p.positions().Source = int64(p.Source.Report.Status.Confirmed)
	p.positions().Target = int64(p.Target.Report.Status.Number)
	p.status.Lag = &v1alpha1.Lag{Messages: lag.Messages}
	if lag.Seconds >= 0 {
		p.status.Lag.Seconds = strconv.FormatFloat(lag.Seconds, 'f', 3, 64)
	}
}
