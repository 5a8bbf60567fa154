package migration_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

func TestMeasure(t *testing.T) {
	for name, test := range map[string]struct {
		confirmed, number uint64
		rate              float64
		state             handover.State
		messages          int64
		gap               float64
		ok                bool
	}{
		"behind":         {confirmed: 30, number: 10, rate: 4, state: handover.Replaying, messages: 20, gap: 5, ok: true},
		"rate not known": {confirmed: 30, number: 10, state: handover.Replaying, messages: 20, gap: -1, ok: true},
		"even":           {confirmed: 30, number: 30, state: handover.Replaying, ok: true},
		// The target's report is the newer one.
		"ahead":         {confirmed: 30, number: 31, rate: 4, state: handover.Replaying, ok: true},
		"not replaying": {confirmed: 30, number: 31, state: handover.Restored},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := migration.Measure(now,
				&handover.Report{Status: handover.Status{Confirmed: test.confirmed}},
				&handover.Report{Status: handover.Status{Number: test.number, Rate: test.rate, State: test.state}})
			f := migration.Foresee(nil, got, trend)
			if ok != test.ok || ok && (f.Messages != test.messages || f.Gap != test.gap) {
				t.Errorf("%+v, %+v, %v", got, f, ok)
			}
		})
	}
	if _, ok := migration.Measure(now, nil, nil); ok {
		t.Error("measured nothing")
	}
}

const trend = 5 * time.Second

// TestRemember: however often samples come, few are kept, and as soon as the
// time has passed the oldest is old enough to tell an unclear trend, but not much older.
func TestRemember(t *testing.T) {
	const longest = 3 * trend
	rapid.Check(t, func(t *rapid.T) {
		var kept []migration.Sample
		at, first := now, now
		steps := rapid.SliceOfN(rapid.Int64Range(1, 2000), 1, 200).Draw(t, "milliseconds")
		for _, ms := range steps {
			kept = migration.Remember(kept, migration.Sample{At: at}, trend)
			if len(kept) > 62 {
				t.Fatalf("%d samples are kept", len(kept))
			}
			for i := 1; i < len(kept); i++ {
				if !kept[i].At.After(kept[i-1].At) {
					t.Fatal("out of order")
				}
			}
			if at.Sub(first) > longest+trend {
				if age := at.Sub(kept[0].At); age < longest-250*time.Millisecond || age > longest+4*time.Second {
					t.Fatalf("the oldest is of %v ago", age)
				}
			}
			at = at.Add(time.Duration(ms) * time.Millisecond)
		}
	})
}

// history makes samples, one every half second until now: back seconds ago
// the lag was lag(back), and arrival messages arrived every second.
func history(length int, arrival, rate float64, lag func(back float64) float64) []migration.Sample {
	var out []migration.Sample
	for i := 2 * length; i >= 0; i-- {
		back := float64(i) / 2
		written := 1e6 - arrival*back
		out = append(out, migration.Sample{
			At: now.Add(-time.Duration(back * float64(time.Second))), Source: uint64(written), Target: uint64(written - lag(back)), Rate: rate,
		})
	}
	return out
}

func TestCut(t *testing.T) {
	const arrives = 100
	flat := func(lag float64) func(float64) float64 { return func(float64) float64 { return lag } }
	slope := func(lag, perSecond float64) func(float64) float64 {
		return func(back float64) float64 { return lag - perSecond*back }
	}
	for name, test := range map[string]struct {
		samples []migration.Sample
		cutoff  time.Duration // 10 s
		left    time.Duration // 600 s
		reason  string
		freeze  bool
	}{
		"nothing outstanding": {samples: history(0, 0, 0, flat(0)), reason: migration.ReasonCaughtUp},
		"a blink":             {samples: history(0, 0, 200, flat(10)), reason: migration.ReasonCaughtUp},
		"more than a blink":   {samples: history(0, 0, 200, flat(11))},
		"rate not known":      {samples: history(0, 0, 0, flat(1))},
		"too long":            {samples: history(0, 0, 1, flat(9)), left: -1, reason: migration.ReasonDeadline},
		"too early to tell":   {samples: history(4, arrives, 50, slope(1000, 50))},
		"arrivals above, by the source's word alone": {samples: []migration.Sample{{At: now, Source: 1000, Rate: 50, Arrival: 100}}},
		"arrivals above":                  {samples: history(5, arrives, 50, slope(1000, 50)), reason: migration.ReasonOutpaced},
		"arrivals above, above the limit": {samples: history(5, arrives, 50, slope(1000, 50)), cutoff: time.Second, reason: migration.ReasonOutpaced},
		"a little above":                  {samples: history(14, arrives, 95, slope(1000, 5))},
		"a little above, watched longer":  {samples: history(15, arrives, 95, slope(1000, 5)), reason: migration.ReasonOutpaced},
		"equal":                           {samples: history(15, arrives, 100, flat(1000)), reason: migration.ReasonOutpaced},
		"below, and shrinking":            {samples: history(15, arrives, 200, slope(1000, -100))},
		"below, above the limit, but shrinking": {
			samples: history(15, arrives, 110, slope(3000, -10))},
		"hardly shrinking, above the limit": {
			samples: history(15, arrives, 101, slope(2000, -1)), reason: ""},
		"hardly shrinking, within the limit": {
			samples: history(15, arrives, 101, slope(900, -1)), left: 100 * time.Second, reason: migration.ReasonTooSlow},
		"hardly shrinking, as far as can be told": {
			samples: history(15, arrives, 101, slope(900, -1)), left: 200 * time.Second},
		"hardly shrinking, too early to tell": {
			samples: history(14, arrives, 101, slope(900, -1)), left: 100 * time.Second},
		"slowly shrinking, in time":     {samples: history(15, arrives, 110, slope(900, -10))},
		"slowly shrinking, not in time": {samples: history(15, arrives, 110, slope(900, -10)), left: 50 * time.Second, reason: migration.ReasonTooSlow},
		// The target says that it could go faster than it does: the broker holds it up.
		"slower than its rate, within the limit": {samples: history(15, arrives, 400, flat(3000))},
		"slower than its rate, above the limit":  {samples: history(15, arrives, 400, flat(4100)), reason: migration.ReasonCutoff},
		// A target that gives no rate is taken at what it applied.
		"no rate, above the limit":     {samples: history(15, arrives, 0, flat(1100)), reason: migration.ReasonOutpaced},
		"no rate, growing":             {samples: history(5, arrives, 0, slope(1000, 50)), reason: migration.ReasonOutpaced},
		"no rate, shrinking":           {samples: history(15, arrives, 0, slope(1000, -50))},
		"stuck, above the limit":       {samples: history(15, arrives, 50, slope(2000, arrives))},
		"stuck, nothing arrives":       {samples: history(15, 0, 50, flat(2000))},
		"stuck until the deadline":     {samples: history(15, arrives, 50, slope(2000, arrives)), left: -1, reason: migration.ReasonDeadline},
		"nothing arrives any more":     {samples: history(15, 0, 50, slope(2000, -50))},
		"a burst that is over":         {samples: history(15, arrives, 120, func(back float64) float64 { return 500 + 100*math.Max(0, 3-math.Abs(back-3)) })},
		"a burst amid the catching up": {samples: history(5, 150, 120, func(back float64) float64 { return 500 + 20*back + 200*math.Max(0, 1.5-back) })},
		"nothing heard for a while":    {samples: append(history(15, arrives, 50, slope(1000, 50))[:14], history(0, arrives, 50, flat(1000))...)},
	} {
		t.Run(name, func(t *testing.T) {
			limits := migration.Limits{Blink: 50 * time.Millisecond, Cutoff: 10 * time.Second, Left: 600 * time.Second}
			if test.cutoff != 0 {
				limits.Cutoff = test.cutoff
			}
			if test.left != 0 {
				limits.Left = test.left
			}
			f := migration.Foresee(test.samples, test.samples[len(test.samples)-1], trend)
			reason, why, freeze := f.Cut(limits)
			if reason != test.reason || freeze != (test.reason != "") {
				t.Errorf("%q (%s) of %+v, want %q", reason, why, f, test.reason)
			}
		})
	}
}
