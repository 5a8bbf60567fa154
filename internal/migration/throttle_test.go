package migration_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

func TestPace(t *testing.T) {
	const pace, within = 40 * time.Millisecond, time.Second
	for name, test := range map[string]struct {
		lag             int64
		arrival, replay float64
		kept, want      time.Duration
	}{
		"nothing outstanding":                        {arrival: 200, replay: 100},
		"the rate of the copy is not known":          {lag: 100, arrival: 100, replay: -1},
		"that of the source is not known":            {lag: 100, arrival: -1, replay: 100},
		"it closes by itself":                        {lag: 40, arrival: 60, replay: 100},
		"it closes, but not soon":                    {lag: 41, arrival: 60, replay: 100, want: 17 * time.Millisecond},
		"it does not close":                          {lag: 50, arrival: 100, replay: 100, want: 20 * time.Millisecond},
		"it grows":                                   {lag: 50, arrival: 300, replay: 100, want: 20 * time.Millisecond},
		"not even a source that stands still":        {lag: 145, arrival: 100, replay: 100, want: pace},
		"slowly enough already":                      {lag: 70, arrival: 100, replay: 100, kept: 40 * time.Millisecond},
		"not slowly enough":                          {lag: 70, arrival: 100, replay: 100, kept: 20 * time.Millisecond, want: 34 * time.Millisecond},
		"what arrives is less than a pace lets pass": {lag: 90, arrival: 20, replay: 100},
		"a message takes long":                       {lag: 28, arrival: 19, replay: 20, want: 100 * time.Millisecond},
		"a message takes longer than any pace":       {lag: 2, arrival: 1, replay: 0.9},
		"fast":                                       {lag: 500, arrival: 2000, replay: 2000, want: time.Millisecond},
	} {
		f := migration.Forecast{Messages: test.lag, Arrival: test.arrival, Replay: test.replay}
		if got := f.Pace(test.kept, pace, within); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// throttling makes facts of a source that was asked for a pace some time ago, and keeps it.
func throttling(ago time.Duration) change {
	return func(f *migration.Facts) {
		at := metav1.NewMicroTime(f.Now.Add(-ago))
		f.Object.Status.Throttle = &v1alpha1.Throttle{Since: at, ChangedAt: at, PaceMillis: 40}
		f.Source.Report.Status.PaceMillis = 40
	}
}

func TestThrottle(t *testing.T) {
	const tell = "Send HELLO to the source"
	// 100 messages outstanding, 100 arrive and 100 can be replayed in a second.
	lagging := all(behindOf(100, 100), func(f *migration.Facts) {
		f.Samples = []migration.Sample{{At: f.Now.Add(-300 * time.Millisecond), Source: 1e6, Target: 1e6 - 100, Rate: 100}}
	})
	pace := func(want int64) func(*testing.T, migration.Plan) {
		return func(t *testing.T, p migration.Plan) {
			t.Helper()
			if s, ok := p.Action.(migration.Send); ok && s.Command.PaceMillis != want {
				t.Errorf("%+v", s.Command)
			}
			th := p.Status.Throttle
			if now := th != nil && th.EndedAt == nil; now != (want > 0) || now && th.PaceMillis != want {
				t.Errorf("throttle %+v", th)
			}
		}
	}
	told := func(f *migration.Facts) {
		f.Source.Sent[handover.Hello] = migration.Sent{First: f.Now, At: f.Now, Attempt: 1, PaceMillis: 40}
	}
	run(t, v1alpha1.PhaseReplaying, []row{
		{name: "the source hears first how often to report", change: all(lagging, func(f *migration.Facts) {
			f.Source.Sent[handover.Hello] = migration.Sent{First: now.Add(-9 * time.Second), At: now.Add(-9 * time.Second), Attempt: 1}
		}), action: tell, check: func(t *testing.T, p migration.Plan) {
			if c := p.Action.(migration.Send).Command; c.ReportMillis != 50 || c.PaceMillis != 0 {
				t.Errorf("%+v", c)
			}
		}},
		{name: "it does not catch up soon", change: lagging, action: tell, check: pace(40)},
		{name: "it was looked at too shortly", change: all(lagging, func(f *migration.Facts) { f.Samples[0].At = f.Now.Add(-99 * time.Millisecond) }), phase: v1alpha1.PhaseReplaying, check: pace(0)},
		{name: "the rate of the copy is not known", change: all(lagging, func(f *migration.Facts) { f.Target.Report.Status.Rate = 0 }), phase: v1alpha1.PhaseReplaying, check: pace(0)},
		{name: "spec.throttle is Never", change: all(lagging, func(f *migration.Facts) { f.Object.Spec.Throttle = v1alpha1.ThrottleNever }), phase: v1alpha1.PhaseReplaying, check: pace(0)},
		{name: "it is told that it is to", change: all(lagging, throttling(time.Second), told), phase: v1alpha1.PhaseReplaying, check: pace(40)},
		{name: "it hears of it again before it forgets", change: all(lagging, throttling(10*time.Second), told, later(2100*time.Millisecond)), action: tell, check: pace(40)},
		{name: "the pace that was long enough stays", change: all(behindOf(5, 100), func(f *migration.Facts) {
			f.Samples = []migration.Sample{{At: f.Now.Add(-300 * time.Millisecond)}}
		}, throttling(time.Second), told), phase: v1alpha1.PhaseReplaying, check: pace(40)},
		{name: "a blink is shorter when there is time to come nearer", change: all(behindOf(2, 100), throttling(time.Second), told), phase: v1alpha1.PhaseReplaying, check: pace(40)},
		{name: "a slow copy's message too: reports that keep time with the pace see one for ever", change: all(behindOf(1, 25), throttling(time.Second), told), action: "Send FREEZE to the source", phase: v1alpha1.PhaseFinalizing},
		{name: "a message is a blink", change: all(behindOf(1, 100), throttling(time.Second), told), action: "Send FREEZE to the source", phase: v1alpha1.PhaseFinalizing,
			check: func(t *testing.T, p migration.Plan) {
				if th := p.Status.Throttle; th.EndedAt == nil || th.TotalMillis != 1000 || !th.Kept || th.PaceMillis != 40 {
					t.Errorf("%+v", th)
				}
				if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionCutOff); c.Reason != migration.ReasonCaughtUp {
					t.Errorf("%+v", c)
				}
			}},
		{name: "the copy applies nothing: it is let go", change: all(lagging, seenStuck, throttling(time.Second), told, later(time.Millisecond)), action: tell, check: pace(0)},
		{name: "the copy is silent: it is let go", change: all(lagging, throttling(time.Second), silent(4*time.Second), told), action: tell, check: pace(0)},
		{name: "it is given up: it is let go", change: all(lagging, throttling(time.Second), func(f *migration.Facts) { f.Target.Pod = nil }), action: "WriteAbort", reason: migration.ReasonTargetLost},
	})
}

// behindOf has the copy so many messages behind, of the rate that it can replay; 100 arrive in a second.
func behindOf(messages uint64, rate float64) change {
	return func(f *migration.Facts) {
		f.Source.Report.Status.Confirmed, f.Target.Report.Status.Number = 1e6, 1e6-messages
		f.Source.Report.Status.Rate, f.Target.Report.Status.Rate = 100, rate
	}
}

// seenStuck has the copy have applied nothing for as long as it was watched.
func seenStuck(f *migration.Facts) {
	f.Samples = history(15, 0, 100, func(float64) float64 { return 100 })
	for i := range f.Samples {
		f.Samples[i].Source, f.Samples[i].Target = 1e6, 1e6-100
	}
}
