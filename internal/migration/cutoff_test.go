package migration_test

import (
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
		want              migration.Sample
		ok                bool
	}{
		"behind":         {confirmed: 30, number: 10, rate: 4, state: handover.Replaying, want: migration.Sample{At: now, Messages: 20, Seconds: 5}, ok: true},
		"rate not known": {confirmed: 30, number: 10, state: handover.Replaying, want: migration.Sample{At: now, Messages: 20, Seconds: -1}, ok: true},
		"even":           {confirmed: 30, number: 30, state: handover.Replaying, want: migration.Sample{At: now}, ok: true},
		// The target's report is the newer one.
		"ahead":         {confirmed: 30, number: 31, rate: 4, state: handover.Replaying, want: migration.Sample{At: now}, ok: true},
		"not replaying": {confirmed: 30, number: 31, state: handover.Restored},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := migration.Measure(now,
				&handover.Report{Status: handover.Status{Confirmed: test.confirmed}},
				&handover.Report{Status: handover.Status{Number: test.number, Rate: test.rate, State: test.state}})
			if got != test.want || ok != test.ok {
				t.Errorf("%+v, %v", got, ok)
			}
		})
	}
	if _, ok := migration.Measure(now, nil, nil); ok {
		t.Error("measured nothing")
	}
}

// TestRemember: however often samples come, few are kept, and as soon as the
// trend has passed the oldest is old enough to tell it, but not much older.
func TestRemember(t *testing.T) {
	const trend = 5 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		var kept []migration.Sample
		at, first := now, now
		steps := rapid.SliceOfN(rapid.Int64Range(1, 2000), 1, 200).Draw(t, "milliseconds")
		for _, ms := range steps {
			kept = migration.Remember(kept, migration.Sample{At: at}, trend)
			if len(kept) > 12 {
				t.Fatalf("%d samples are kept", len(kept))
			}
			for i := 1; i < len(kept); i++ {
				if !kept[i].At.After(kept[i-1].At) {
					t.Fatal("out of order")
				}
			}
			if at.Sub(first) > 2*trend {
				if age := at.Sub(kept[0].At); age < trend-500*time.Millisecond || age > trend+4*time.Second {
					t.Fatalf("the oldest is of %v ago", age)
				}
			}
			at = at.Add(time.Duration(ms) * time.Millisecond)
		}
	})
}
