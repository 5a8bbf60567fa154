package migration_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// loaded is a source that has handled so many messages since the checkpoint, and
// says what rate it handles and could.
func loaded(since uint64, rate, capacity float64) change {
	return func(f *migration.Facts) {
		f.Object.Status.Positions = &v1alpha1.Positions{Checkpoint: 1000}
		s := &f.Source.Report.Status
		s.Confirmed, s.Rate, s.Capacity = 1000+since, rate, capacity
	}
}

// TestBeforehand: a source is slowed down while its copy is on its way if the copy
// could not catch up soon, for a time.
func TestBeforehand(t *testing.T) {
	paced := func(want int64) func(*testing.T, migration.Plan) {
		return func(t *testing.T, p migration.Plan) {
			t.Helper()
			if s, ok := p.Action.(migration.Send); ok && s.Command.Kind == handover.Hello && (s.Command.PaceMillis != want || s.Command.ReportMillis != 500) {
				t.Errorf("%+v", s.Command)
			}
			th := p.Status.Throttle
			if now := th != nil && th.EndedAt == nil; now != (want > 0) || now && th.PaceMillis != want {
				t.Errorf("throttle %+v", th)
			}
		}
	}
	told := func(pace int64) change {
		return func(f *migration.Facts) {
			f.Source.Sent[handover.Hello] = migration.Sent{First: f.Now, At: f.Now, Attempt: 1, PaceMillis: pace}
		}
	}
	busy := loaded(20, 100, 100) // 50 more come until the copy can be there
	for phase, way := range map[v1alpha1.MigrationPhase]change{
		v1alpha1.PhaseTransferring: func(f *migration.Facts) { f.Push = leg("", "", "") },
		v1alpha1.PhaseRestoring:    staging,
	} {
		t.Run(string(phase), func(t *testing.T) {
			run(t, phase, []row{
				{name: "it will not catch up soon", change: all(way, busy), action: helloSource, check: paced(40)},
				{name: "it will, but not at once", change: all(way, loaded(20, 60, 100)), action: helloSource, check: paced(40)},
				{name: "a pace that is long enough", change: all(way, loaded(5, 50, 100)), action: helloSource, check: paced(25)},
				{name: "it will", change: all(way, loaded(5, 40, 100)), check: paced(0)},
				{name: "a library that does not say what it could", change: all(way, loaded(20, 100, 0)), check: paced(0)},
				{name: "a source that does not relay yet", change: all(way, source(handover.Paused), busy), check: paced(0)},
				{name: "spec.throttle is Never", change: all(way, busy, func(f *migration.Facts) { f.Object.Spec.Throttle = v1alpha1.ThrottleNever }), check: paced(0)},
				{name: "it is told", change: all(way, busy, throttling(time.Second), told(40)), check: paced(40)},
				{name: "it was told by another process", change: all(way, busy, throttling(time.Second)), action: helloSource, check: paced(40)},
				{name: "the copy takes its time: it is let go", change: all(way, busy, throttling(2*time.Second), told(40)), action: helloSource, check: paced(0)},
				{name: "it was let go", change: all(way, busy, throttling(2*time.Second), told(0), func(f *migration.Facts) {
					at := metav1.NewMicroTime(f.Now)
					f.Object.Status.Throttle.EndedAt = &at
				}), check: paced(0)},
			})
		})
	}
	t.Run("the pace lasts until the replay", func(t *testing.T) {
		run(t, v1alpha1.PhaseRestoring, []row{
			{name: "", change: all(staged, busy, target(handover.Restored), throttling(time.Second), told(40)), action: "Send START_REPLAY to the target", phase: v1alpha1.PhaseReplaying, check: paced(40)},
		})
	})
	t.Run("not for another attempt", func(t *testing.T) {
		run(t, v1alpha1.PhaseRestoring, []row{
			{name: "", change: all(staged, recorded, busy, notPaused, throttling(time.Second), told(40)), action: "DeletePod", check: paced(0)},
		})
	})
}
