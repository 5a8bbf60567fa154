package migration_test

import (
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestMute: no source is frozen, or stays so, for a copy that has not been heard of.
func TestMute(t *testing.T) {
	run(t, v1alpha1.PhaseReplaying, []row{
		{name: "no freeze for a target that is silent", change: silent(4 * time.Second), phase: v1alpha1.PhaseReplaying},
		{name: "not even at the deadline", change: all(silent(4*time.Second), func(f *migration.Facts) {
			f.Object.Status.PhaseTimes[0].StartedAt.Time = f.Now.Add(-600 * time.Second)
		}), phase: v1alpha1.PhaseReplaying},
		{name: "the target is mute", change: silent(time.Minute), action: "WriteAbort", reason: migration.ReasonTargetLost},
		{name: "the target was heard of just now", change: all(silent(time.Minute), func(f *migration.Facts) { f.Target.Heard = f.Now }), action: "Send FREEZE to the source"},
		{name: "the source is gone, the target is mute", change: all(silent(time.Minute), func(f *migration.Facts) { f.Source.Pod = nil }), action: "Send TAKEOVER to the target", phase: v1alpha1.PhaseFinalizing},
	})
	run(t, v1alpha1.PhaseFinalizing, []row{
		{name: "frozen for a target that is mute", change: all(source(handover.Frozen), silent(time.Minute)), action: "WriteAbort", reason: migration.ReasonTargetLost},
	})
}

// silent has the target not heard of for some time; both were told something just now.
func silent(d time.Duration) change {
	return func(f *migration.Facts) {
		f.Target.Heard = f.Now
		f.Now = f.Now.Add(d)
		for _, sent := range []map[handover.CommandKind]migration.Sent{f.Source.Sent, f.Target.Sent} {
			sent[handover.Hello] = migration.Sent{First: f.Now, At: f.Now, Attempt: 1}
		}
	}
}

// TestAttemptPauses: each pause is twice the one before.
func TestAttemptPauses(t *testing.T) {
	third := all(checkpointed(migration.Passing(migration.ReasonCheckpointFailed, errTest)), func(f *migration.Facts) {
		f.Object.Status.Attempt, f.Checkpoint.Attempt = 3, 3
	})
	run(t, v1alpha1.PhaseCheckpointing, []row{
		{name: "the first is short", change: all(checkpointed(migration.Passing(migration.ReasonCheckpointFailed, errTest)), later(1200*time.Millisecond)), action: createTransfer, check: secondAttempt},
		{name: "the third is not", change: all(third, later(4300*time.Millisecond)), phase: v1alpha1.PhaseCheckpointing},
		{name: "it ends", change: all(third, later(4500*time.Millisecond)), action: createTransfer},
	})
}
