package migration_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ms2m.dev/ms2m/internal/migration"
)

// replay simulates a source that relays arrivals and a copy that applies them,
// as the manager sees them: by reports that are up to an interval old.
type replay struct {
	arrival  float64 // messages per second on average
	capacity float64 // messages per second that the copy can apply
	lag      float64 // messages outstanding at the beginning
	burst    float64 // seconds that a burst takes, 0: none
	period   float64 // seconds from burst to burst
	noise    float64 // of the capacity, as a fraction
	rnd      *rand.Rand

	at, written, applied float64
	busy                 float64 // seconds spent applying
	work                 []work
	sourceAt             float64 // when the source reported last
	heard                migration.Sample
	samples              []migration.Sample
}

const interval = 0.1 // seconds between two reports of an instance

// poisson draws how many of many come when mean are expected.
func (r *replay) poisson(mean float64) float64 {
	n, p, limit := 0.0, r.rnd.Float64(), math.Exp(-mean)
	for p > limit {
		n++
		p *= r.rnd.Float64()
	}
	return n
}

// step goes on by a hundredth of a second. In a burst all of a period's
// messages come at thrice the rate, so that fewer come between bursts.
func (r *replay) step() {
	const dt = 0.01
	arrival := r.arrival
	if r.burst > 0 {
		quiet := (r.period - 3*r.burst) / (r.period - r.burst)
		if math.Mod(r.at, r.period) < r.burst {
			arrival *= 3
		} else {
			arrival *= quiet
		}
	}
	r.at += dt
	r.written += r.poisson(arrival * dt)
	rate := r.capacity * (1 + r.noise*(2*r.rnd.Float64()-1))
	more := math.Min(r.written-r.applied, rate*dt)
	r.applied += more
	if more > 0 {
		r.work = append(r.work, work{r.busy, r.applied})
		r.busy += more / rate
	}
}

// measured is the rate that the copy reports, as the library measures it: over
// the last two seconds of busy time.
func (r *replay) measured() float64 {
	for len(r.work) > 2 && r.work[1].busy < r.busy-2 {
		r.work = r.work[1:]
	}
	if len(r.work) < 2 {
		return 0
	}
	first, last := r.work[0], r.work[len(r.work)-1]
	return (last.applied - first.applied) / (last.busy - first.busy)
}

type work struct{ busy, applied float64 }

// observe is what the manager has heard by now. The two sides report half an
// interval apart.
func (r *replay) observe() migration.Sample {
	if r.at-r.sourceAt >= interval {
		r.sourceAt = r.at
		r.heard.Source = uint64(r.written)
	}
	if r.at-r.sourceAt >= interval/2 {
		r.heard.Target, r.heard.Rate = uint64(r.applied), r.measured()
	}
	r.heard.At = now.Add(time.Duration(r.at * float64(time.Second)))
	return r.heard
}

// run plays until the source is frozen.
func (r *replay) run(l migration.Limits) (f migration.Forecast, reason string) {
	r.written = r.lag
	deadline := l.Left.Seconds()
	for {
		r.step()
		s := r.observe()
		if r.sourceAt == 0 || r.at-r.sourceAt < interval/2 && len(r.samples) == 0 {
			continue // one of the two was not heard yet
		}
		if l.Left < 0 {
			return f, "" // not even the deadline froze it
		}
		r.samples = migration.Remember(r.samples, s, trend)
		f = migration.Foresee(r.samples, s, trend)
		l.Left = time.Duration((deadline - r.at) * float64(time.Second))
		if reason, _, freeze := f.Cut(l); freeze {
			return f, reason
		}
	}
}

// gap is how long the copy truly needs for what is outstanding.
func (r *replay) gap() float64 { return (r.written - r.applied) / r.capacity }

// TestRates: whatever the rates, the noise and the bursts, the source is
// frozen when the rest is a blink if the copy can catch up, and soon if it
// cannot; the gap is bounded by what was outstanding when that could be seen.
func TestRates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		capacity := rapid.Float64Range(50, 2000).Draw(t, "capacity")
		ratio := rapid.OneOf(rapid.Float64Range(0, 0.8), rapid.Float64Range(0.8, 1.1), rapid.Float64Range(1.1, 2)).Draw(t, "load")
		before := rapid.Float64Range(0, 20).Draw(t, "seconds relayed before")
		r := &replay{
			arrival: capacity * ratio, capacity: capacity, noise: rapid.Float64Range(0, 0.2).Draw(t, "noise"),
			lag: capacity * ratio * before, rnd: rand.New(rand.NewPCG(seed, 1)),
		}
		if rapid.Bool().Draw(t, "bursts") {
			r.burst = rapid.Float64Range(0.1, 1).Draw(t, "burst")
			r.period = r.burst * rapid.Float64Range(8, 20).Draw(t, "calm")
		}
		limits := migration.Limits{
			Blink:  50 * time.Millisecond,
			Cutoff: time.Duration(rapid.IntRange(1, 120).Draw(t, "cut-off")) * time.Second,
			Left:   time.Duration(rapid.IntRange(60, 600).Draw(t, "replaySeconds")) * time.Second,
		}
		left := limits.Left.Seconds()
		f, reason := r.run(limits)
		t.Logf("frozen after %.2f s for %s with a gap of %.3f s: %+v", r.at, reason, r.gap(), f)

		// What the reports cannot show: arrivals of two intervals, with chance, and parts of a message.
		arrivals := 2 * interval * r.arrival * (1 + 2*sign(r.burst))
		unseen := (arrivals + 4*math.Sqrt(arrivals) + 2) / capacity
		start := before * ratio
		switch {
		case ratio <= 0.8:
			// It would be seen to catch up; only a replay too short for that ends otherwise. A trend
			// may have one burst more in it than its share: then it has to catch up with that, too.
			spare := 1 - ratio*(1+2*r.burst/trend.Seconds())
			if need := start / spare; reason != migration.ReasonCaughtUp && spare > 0 && need*1.2+5 < left {
				t.Fatalf("frozen for %s, though it catches up in %.1f s", reason, need)
			}
		case ratio >= 1.1:
			if reason == migration.ReasonCaughtUp && start > 2 {
				t.Fatal("caught up with more than it can replay")
			}
			// One trend, or three if it is not clear, and chance may want another
			// look. Between bursts the lag shrinks, which takes longer to see through.
			if slowest := 6 * trend.Seconds(); r.at > slowest && r.burst == 0 {
				t.Fatalf("frozen only after %.1f s", r.at)
			}
		}
		if reason == migration.ReasonCaughtUp && r.gap() > limits.Blink.Seconds()+unseen {
			t.Fatalf("a gap of %.3f s is no blink", r.gap())
		}
		// No more than what was there, and what came on top while it was watched.
		if most := start + math.Max(0, ratio-1)*r.at + unseen + 3*math.Sqrt(r.arrival*r.at)/capacity + 2*r.burst*ratio; r.gap() > most+0.1 {
			t.Fatalf("the gap is %.3f s, at most %.3f expected", r.gap(), most)
		}
		// Above the cut-off nothing but the lag's not shrinking, or the end, freezes.
		if gap := limits.Cutoff.Seconds(); reason == migration.ReasonTooSlow && f.Gap > gap {
			t.Fatalf("a shrinking lag of %.1f s is cut off, though %v is allowed", f.Gap, limits.Cutoff)
		}
	})
}

func sign(x float64) float64 {
	if x > 0 {
		return 1
	}
	return 0
}
