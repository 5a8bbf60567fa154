package migration

import (
	"math"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

// Sample is where source and target stood at one moment, by their reports.
type Sample struct {
	At             time.Time
	Source, Target uint64  // last message written by the source, applied by the target
	Rate           float64 // the target's, in messages per second of busy time; 0: not known
	Arrival        float64 // the source's own measure, in messages per second; 0: not known
}

// Messages is how many are written and not applied.
func (s Sample) Messages() int64 {
	if s.Source < s.Target {
		return 0 // the target's report is the newer one
	}
	return int64(s.Source - s.Target)
}

// Measure takes a sample from the last reports. The two are not of the same
// moment: whichever is older makes the lag look smaller or larger by what was
// handled in between, at most one interval of reports.
func Measure(now time.Time, source, target *handover.Report) (Sample, bool) {
	if source == nil || target == nil || target.Status.State != handover.Replaying {
		return Sample{}, false
	}
	return Sample{At: now, Source: source.Status.Confirmed, Target: target.Status.Number,
		Rate: target.Status.Rate, Arrival: source.Status.Rate}, true
}

// patience is how many trends an unclear lag is watched for.
const patience = 3

// Remember adds a sample and forgets those that no trend needs any more.
func Remember(samples []Sample, s Sample, trend time.Duration) []Sample {
	const spacing = 20 // samples per trend are enough to see a slope
	if n := len(samples); n > 0 && s.At.Sub(samples[n-1].At) < trend/spacing {
		return samples
	}
	for len(samples) > 1 && s.At.Sub(samples[1].At) >= patience*trend {
		samples = samples[1:]
	}
	return append(samples, s)
}

// Forecast is what the samples tell about the lag, and foretell. A number that
// is not known is negative.
type Forecast struct {
	Messages int64   // outstanding
	Arrival  float64 // λ: messages per second that the source writes
	Chance   float64 // by which λ may be off: two standard deviations of a Poisson process
	Replay   float64 // μ: messages per second that the target applies when it is busy
	Gap      float64 // seconds that the target needs for what is outstanding: the gap of a freeze now
	CatchUp  float64 // seconds until nothing is outstanding at these rates; infinite: never

	Steady  bool // the lag does not shrink
	Stuck   bool // the target has applied nothing for a whole trend
	Watched bool // long enough to believe the rates to a few per cent
}

// Foresee looks at the samples, of which now is the last.
//
// λ is counted: what the source wrote over the window, the same as that of the lag. Until
// there is one, the source's own rate tells people, and decides nothing. μ is the target's own
// measure, because what it applied over the window is no measure of what it
// could apply: a target that has caught up applies no more than arrives. A
// target that does not give one is taken at what it applied, if it was behind.
//
// The lag counts as steady if it shrank in none of three parts of the window (so
// that a burst, which falls into one or two of them, does not look like a load)
// and either grew by more than the chance of arrivals explains over one trend, or
// did not shrink over three.
func Foresee(samples []Sample, now Sample, trend time.Duration) Forecast {
	f := Forecast{Messages: now.Messages(), Arrival: -1, Replay: -1, Gap: -1, CatchUp: -1}
	if now.Rate > 0 {
		f.Replay = now.Rate
	}
	if now.Arrival > 0 {
		f.Arrival = now.Arrival
	}
	for _, times := range []time.Duration{1, patience} {
		window := times * trend
		then, ok := at(samples, now, window, trend/4)
		if !ok {
			break
		}
		took := now.At.Sub(then.At).Seconds()
		arrived := float64(now.Source) - float64(then.Source)
		applied := float64(now.Target) - float64(then.Target)
		f.Arrival, f.Chance = arrived/took, 2*math.Sqrt(arrived)/took
		if now.Rate <= 0 && applied > 0 && then.Messages() > 0 {
			f.Replay = applied / took
		}
		if times == 1 {
			f.Stuck = applied == 0 && f.Messages > 0
		}
		f.Watched = times == patience
		grown := float64(now.Messages() - then.Messages())
		if holds(samples, now, window, trend/4) && (times == patience || grown > f.Chance*took) {
			f.Steady = true
			break
		}
	}
	if f.Messages == 0 {
		f.Gap, f.CatchUp = 0, 0
		return f
	}
	if f.Replay > 0 {
		f.Gap = float64(f.Messages) / f.Replay
		if f.Arrival >= 0 {
			f.CatchUp = math.Inf(1)
			if f.Arrival < f.Replay {
				f.CatchUp = float64(f.Messages) / (f.Replay - f.Arrival)
			}
		}
	}
	return f
}

// holds reports whether the lag shrank in none of three parts of a window.
func holds(samples []Sample, now Sample, window, tolerance time.Duration) bool {
	const parts = 3
	later := now
	for i := time.Duration(1); i <= parts; i++ {
		earlier, ok := at(samples, now, window*i/parts, tolerance)
		if !ok || earlier.Messages() > later.Messages() {
			return false
		}
		later = earlier
	}
	return true
}

// at is the sample of a time ago, if there is one of about that time: when
// nothing was heard for a while there is none.
func at(samples []Sample, now Sample, ago, tolerance time.Duration) (Sample, bool) {
	when := now.At.Add(-ago)
	for i := len(samples) - 1; i >= 0; i-- {
		if s := samples[i]; !s.At.After(when) {
			return s, when.Sub(s.At) <= tolerance
		}
	}
	return Sample{}, false
}
