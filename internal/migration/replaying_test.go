package migration_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

func TestReplaying(t *testing.T) {
	behind := func(n uint64) change {
		return target(handover.Replaying, func(r *handover.Report) { r.Status.Number -= n; r.Status.Rate = 1 })
	}
	// seen are the lags of the last moments: perSecond of the ten messages that
	// arrive in a second stay.
	seen := func(perSecond float64) change {
		return func(f *migration.Facts) {
			f.Samples = history(15, 10, 1, func(back float64) float64 { return 30 - perSecond*back })
			f.Source.Report.Status.Confirmed, f.Target.Report.Status.Number = 1e6, 1e6-30
		}
	}
	cutoffIs := func(reason string, status metav1.ConditionStatus, figures string) func(*testing.T, migration.Plan) {
		return func(t *testing.T, p migration.Plan) {
			t.Helper()
			c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionCutOff)
			if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, figures) {
				t.Errorf("condition %+v", c)
			}
			if got := p.Status.Cutoff; got == nil || got.Reason != reason || got.LagMessages != p.Status.Lag.Messages {
				t.Errorf("cutoff %+v", got)
			}
		}
	}
	cutoff := func(f *migration.Facts) { f.Object.Spec.ReplayCutoffSeconds = 10 }
	const freeze = "Send FREEZE to the source"
	run(t, v1alpha1.PhaseReplaying, []row{
		{name: "START_REPLAY", change: target(handover.Restored), action: "Send START_REPLAY to the target", check: func(t *testing.T, p migration.Plan) {
			if c := p.Action.(migration.Send).Command; c.ReplayQueue == "" || c.DeadlineMillis != 900000 || c.PodUID != targetUID {
				t.Errorf("%+v", c)
			}
		}},
		{name: "nothing outstanding", action: freeze, phase: v1alpha1.PhaseFinalizing},
		{name: "a blink", change: target(handover.Replaying, func(r *handover.Report) { r.Status.Number--; r.Status.Rate = 100 }), action: freeze, phase: v1alpha1.PhaseFinalizing},
		{name: "behind", change: behind(30), phase: v1alpha1.PhaseReplaying, check: func(t *testing.T, p migration.Plan) {
			if p.Status.Cutoff.ArrivalRate != "100.000" || p.Status.Cutoff.CatchUpSeconds != "" { // by the source's word
				t.Errorf("%+v", p.Status.Cutoff)
			}
			if p.Status.Lag.Messages != 30 || p.Status.Lag.Seconds != "30.000" || p.Status.Positions.Source != 40 || p.Status.Positions.Target != 10 {
				t.Errorf("lag %+v, positions %+v", p.Status.Lag, p.Status.Positions)
			}
			if s := p.Status.Series; len(s) != 1 || s[0].LagMessages != 30 || s[0].ReplayRate != "1.000" || s[0].ArrivalRate != "100.000" || !s[0].At.Equal(&metav1.MicroTime{Time: now}) {
				t.Errorf("series %+v", s)
			}
		}},
		{name: "written just now", change: all(behind(30), func(f *migration.Facts) { f.LastWrite = f.Now }), phase: v1alpha1.PhaseReplaying, check: func(t *testing.T, p migration.Plan) {
			if p.Status.Lag != nil {
				t.Error("written again")
			}
		}},
		{name: "above replayCutoffSeconds, too early to tell", change: all(behind(30), cutoff), phase: v1alpha1.PhaseReplaying},
		{name: "shrinking", change: all(behind(30), cutoff, seen(-10), func(f *migration.Facts) { f.Target.Report.Status.Rate = 20 }), phase: v1alpha1.PhaseReplaying,
			check: cutoffIs(migration.ReasonWaiting, metav1.ConditionFalse, "the copy catches up: 30 messages outstanding (1.500 s), 10.0/s arrive, 20.0/s can be replayed, the lag closes in 3.0 s, cut-off 10 s")},
		{name: "more arrives than is replayed", change: all(behind(30), cutoff, seen(1)), action: freeze, phase: v1alpha1.PhaseFinalizing,
			check: cutoffIs(migration.ReasonOutpaced, metav1.ConditionTrue, "30 messages outstanding (30.000 s), 10.0/s arrive")},
		{name: "the copy applies nothing", change: all(behind(30), cutoff, seen(10)), phase: v1alpha1.PhaseReplaying,
			check: cutoffIs(migration.ReasonWaiting, metav1.ConditionFalse, "the copy applies nothing")},
		{name: "too long", change: all(behind(30), later(600*time.Second)), action: freeze, phase: v1alpha1.PhaseFinalizing},
		{name: "a gap", change: target(handover.Void, func(r *handover.Report) { r.Reason = handover.ReasonGap; r.Status.Decision = handover.Aborted }),
			action: "Send ABORT to the source", reason: "Gap"},
		{name: "the target is gone", change: func(f *migration.Facts) { f.Target.Pod = nil }, action: "WriteAbort", reason: migration.ReasonTargetLost},
		{name: "the source is gone", change: func(f *migration.Facts) { f.Source.Pod = nil }, action: "Send TAKEOVER to the target", phase: v1alpha1.PhaseFinalizing, check: fences(sourceUID)},
		{name: "its container was restarted", change: source(handover.Held), action: "Send TAKEOVER to the target", phase: v1alpha1.PhaseFinalizing, check: fences("")},
		{name: "the source gave up", change: source(handover.Live, func(r *handover.Report) { r.Status.Decision = handover.Aborted }),
			action: "DeletePod", reason: migration.ReasonAborted},
		{name: "nothing known after a restart", change: func(f *migration.Facts) { f.Target.Report, f.Target.Sent = nil, nil }, action: helloTarget},
	})
}
