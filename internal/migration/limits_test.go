package migration_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// limit draws the limits of a migration.
func (w *world) limit(t *rapid.T) {
	spec := &w.object.Spec
	if rapid.Bool().Draw(t, "a deadline for all") {
		spec.Deadlines.TotalSeconds = rapid.Int32Range(1, 120).Draw(t, "totalSeconds")
	}
	if rapid.Bool().Draw(t, "a limit of attempts") {
		spec.BackoffLimit = ptr.To(rapid.Int32Range(0, 6).Draw(t, "backoffLimit"))
	}
	if rapid.Bool().Draw(t, "a time to live") {
		spec.TTLSecondsAfterFinished = ptr.To(rapid.Int32Range(0, 100).Draw(t, "ttlSecondsAfterFinished"))
	}
}

// keepsLimits checks what a step has made of the status.
func (w *world) keepsLimits(before v1alpha1.StatefulMigrationStatus, plan migration.Plan) {
	st := &w.object.Status
	most := int32(5)
	if l := w.object.Spec.BackoffLimit; l != nil {
		most = *l + 1
	}
	begun := rank(st.Phase) > rank(v1alpha1.PhasePending) && st.Phase != v1alpha1.PhaseFailed
	switch {
	case st.Attempt > most:
		w.violated("attempt %d of %d", st.Attempt, most)
	case before.StartedAt != nil && !before.StartedAt.Equal(st.StartedAt):
		w.violated("it began at %v, and now at %v", before.StartedAt, st.StartedAt)
	case begun && st.StartedAt == nil:
		w.violated("phase %s, and nothing tells since when", st.Phase)
	case w.busy && before.StartedAt == nil && st.StartedAt != nil:
		w.violated("it begins though it is not its turn")
	case st.StartedAt == nil && len(w.holds)+len(w.queues)+len(w.legs)+w.calls > 0:
		w.violated("something is done before it is let in")
	case w.overTotal() && !plan.Ended && nameOf(plan) != "ReadDecision" && w.calling == nil &&
		meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionCommitted) == nil && givenUp(plan) == "":
		w.violated("it goes on (%s) though deadlines.totalSeconds has passed", nameOf(plan))
	case st.StartedAt != nil && st.Queued != nil:
		w.violated("it queues and has begun")
	}
}

// overTotal reports whether the deadline of the whole has passed on the way out.
func (w *world) overTotal() bool {
	st, total := &w.object.Status, w.object.Spec.Deadlines.TotalSeconds
	return total > 0 && st.Hop <= 1 && st.StartedAt != nil && !w.now.Before(st.StartedAt.Add(time.Duration(total)*time.Second))
}

func (w *world) verifyEnd(t *rapid.T) {
	st := &w.object.Status
	if st.EndedAt == nil || !st.EndedAt.Time.Equal(w.now) || st.Queued != nil {
		t.Fatalf("ended at %v, queued %v (now %v)\n%s", st.EndedAt, st.Queued, w.now, w)
	}
	at, expires := migration.ExpiresAt(w.object)
	if ttl := w.object.Spec.TTLSecondsAfterFinished; expires != (ttl != nil) || expires && !at.Equal(w.now.Add(time.Duration(*ttl)*time.Second)) {
		t.Fatalf("expires %t at %v (now %v)\n%s", expires, at, w.now, w)
	}
}

// busy lets others go first.
func busy(ahead int32) change {
	return func(f *migration.Facts) {
		f.Turn = &migration.Turn{Ahead: ahead, Reason: "MaxMigrations", Message: "5 migrations are active"}
	}
}

// queues is after it has been found ready while others were active.
func queues(f *migration.Facts) {
	busy(8)(f)
	f.Object.Status = migration.Next(*f).Status
	f.Preflight = nil // nobody is asked meanwhile
}

func TestQueued(t *testing.T) {
	queuedWith := func(ahead int32) func(*testing.T, migration.Plan) {
		return func(t *testing.T, p migration.Plan) {
			q := p.Status.Queued
			if q == nil || q.Ahead != ahead || q.Reason != "MaxMigrations" || !strings.Contains(q.Message, "5 migrations are active") || !q.Since.Time.Equal(now) {
				t.Errorf("queued: %+v, want %d ahead", q, ahead)
			}
			if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) || !p.Until.IsZero() || p.Status.StartedAt != nil {
				t.Errorf("until %v, status %+v", p.Until, p.Status)
			}
		}
	}
	lets := func(f *migration.Facts) { f.Turn, f.Preflight = nil, preflight() }
	run(t, v1alpha1.PhasePending, []row{
		{name: "it is let in", action: "SetHolds", phase: v1alpha1.PhaseCheckpointing, check: func(t *testing.T, p migration.Plan) {
			if p.Status.Queued != nil || !p.Status.StartedAt.Time.Equal(now) {
				t.Errorf("queued %v, started %v", p.Status.Queued, p.Status.StartedAt)
			}
		}},
		{name: "others are first", change: busy(3), phase: v1alpha1.PhasePending, check: queuedWith(3)},
		{name: "a dry run does not queue", change: all(busy(3), func(f *migration.Facts) { f.Object.Spec.DryRun = true }), action: "ended", phase: v1alpha1.PhaseCompleted},
		{name: "what cannot be moved does not queue", change: all(busy(3), func(f *migration.Facts) { f.Source.Pod = nil }), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonPodNotFound},
		{name: "no time passes", change: all(queues, later(24*time.Hour)), phase: v1alpha1.PhasePending, check: queuedWith(8)},
		{name: "one less is not worth a write", change: all(queues, busy(7)), phase: v1alpha1.PhasePending, check: queuedWith(8)},
		{name: "half of them are", change: all(queues, busy(4)), phase: v1alpha1.PhasePending, check: queuedWith(4)},
		{name: "its turn has come", change: all(queues, lets, later(time.Hour)), action: "SetHolds", phase: v1alpha1.PhaseCheckpointing, check: func(t *testing.T, p migration.Plan) {
			if p.Status.Queued != nil || !p.Status.StartedAt.Time.Equal(now.Add(time.Hour)) {
				t.Errorf("queued %v, started %v", p.Status.Queued, p.Status.StartedAt)
			}
		}},
		{name: "not ready when its turn has come: it makes way, and has the whole time again",
			change: all(queues, lets, later(time.Hour), func(f *migration.Facts) { f.Preflight.Broker = errTest }), phase: v1alpha1.PhasePending, check: func(t *testing.T, p migration.Plan) {
				if p.Status.Queued != nil {
					t.Errorf("it queues: %+v", p.Status.Queued)
				}
			}},
		{name: "and no more than that", change: all(queues, lets, later(time.Hour), func(f *migration.Facts) {
			f.Preflight.Broker = errTest
			f.Object.Status = migration.Next(*f).Status
		}, later(time.Minute)), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonUnavailable},
		{name: "the pod goes meanwhile", change: all(queues, func(f *migration.Facts) { f.Source.Pod = nil }), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonPodNotFound},
		{name: "the pod is replaced meanwhile", change: all(queues, func(f *migration.Facts) { f.Source.Pod.UID = "x" }), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonSourceLost},
		{name: "deleted meanwhile", change: all(queues, deleted), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonCancelled},
	})
}

// total gives the migration a minute, from now.
func total(f *migration.Facts) {
	f.Object.Spec.Deadlines.TotalSeconds = 60
	at := metav1.NewMicroTime(now)
	f.Object.Status.StartedAt = &at
}

// TestTotal lets the deadline of the whole pass in each phase, whose own is longer.
func TestTotal(t *testing.T) {
	for _, phase := range []v1alpha1.MigrationPhase{
		v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring, v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing,
	} {
		t.Run(string(phase), func(t *testing.T) {
			own := func(f *migration.Facts) { f.Object.Spec.Deadlines.CheckpointSeconds = 300 }
			action := "WriteAbort"
			if phase == v1alpha1.PhaseCheckpointing {
				action = "ended" // nothing was begun
			}
			run(t, phase, []row{
				{name: "not yet", change: all(own, total, later(59*time.Second)), action: nameOf(migration.Next(factsWith(phase, own, later(59*time.Second))))},
				{name: "passed", change: all(own, total, later(60*time.Second)), action: action, reason: migration.ReasonDeadline, check: func(t *testing.T, p migration.Plan) {
					c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionSucceeded)
					if !strings.Contains(c.Message, "deadlines.totalSeconds (60), in the phase "+string(phase)) {
						t.Error(c.Message)
					}
				}},
			})
		})
	}
	run(t, v1alpha1.PhaseTransferring, []row{
		{name: "it is waited for, if nothing comes before it", change: all(total, later(59*time.Second), func(f *migration.Facts) {
			f.Push = leg("", "", "")
			f.Source.Sent["HELLO"] = migration.Sent{At: f.Now}
		}), phase: v1alpha1.PhaseTransferring, check: func(t *testing.T, p migration.Plan) {
			if !p.Until.Equal(now.Add(time.Minute)) {
				t.Errorf("waits until %v", p.Until)
			}
		}},
	})
	overdue := func(want bool) func(*testing.T, migration.Plan) {
		return func(t *testing.T, p migration.Plan) {
			if got := meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionOverdue); got != want {
				t.Errorf("overdue %t", got)
			}
		}
	}
	committed := all(target(handover.Live), func(f *migration.Facts) {
		condition(f.Object, v1alpha1.ConditionCommitted, metav1.ConditionTrue, "Committed")
	})
	back := all(total, func(f *migration.Facts) {
		f.Object.Status.Hop = 2
		f.Object.Status.Owner = &v1alpha1.WorkloadReference{APIVersion: "apps/v1", Kind: string(owner.StatefulSet), Name: "counter", UID: ownerUID}
	})
	run(t, v1alpha1.PhaseFinalizing, []row{
		{name: "after COMMIT, not yet", change: all(total, committed, later(59*time.Second)), action: "Send RETIRE to the source", check: overdue(false)},
		{name: "after COMMIT there is only forward", change: all(total, committed, later(60*time.Second)), action: "Send RETIRE to the source", check: overdue(true)},
		{name: "COMMIT stands, and is not recorded yet", change: all(total, later(60*time.Second), target(handover.Live), func(f *migration.Facts) { f.Decision = migration.Committed }),
			action: "Send RETIRE to the source", phase: v1alpha1.PhaseFinalizing},
		{name: "the way back is gone to its end", change: all(back, later(60*time.Second)), action: nameOf(migration.Next(factsWith(v1alpha1.PhaseFinalizing, back, later(59*time.Second)))), check: overdue(true)},
	})
}

// factsWith are changed facts.
func factsWith(phase v1alpha1.MigrationPhase, changes ...change) migration.Facts {
	f := facts(phase)
	all(changes...)(&f)
	return f
}

func TestExpires(t *testing.T) {
	ended := metav1.NewMicroTime(now)
	for name, test := range map[string]struct {
		phase  v1alpha1.MigrationPhase
		ttl    *int32
		change func(*v1alpha1.StatefulMigration)
		want   time.Time // zero: never
	}{
		"not asked for": {phase: v1alpha1.PhaseCompleted},
		"not ended":     {phase: v1alpha1.PhaseFinalizing, ttl: ptr.To[int32](0)},
		"at once":       {phase: v1alpha1.PhaseFailed, ttl: ptr.To[int32](0), want: now},
		"in an hour":    {phase: v1alpha1.PhaseCompleted, ttl: ptr.To[int32](3600), want: now.Add(time.Hour)},
		"by the condition": {phase: v1alpha1.PhaseCompleted, ttl: ptr.To[int32](60), want: now.Add(2 * time.Minute), change: func(m *v1alpha1.StatefulMigration) {
			m.Status.EndedAt = nil
			meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{
				Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue, Reason: "Done", LastTransitionTime: metav1.NewTime(now.Add(time.Minute)),
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := object(test.phase)
			m.Spec.TTLSecondsAfterFinished, m.Status.EndedAt = test.ttl, &ended
			if test.change != nil {
				test.change(m)
			}
			at, expires := migration.ExpiresAt(m)
			if expires != !test.want.IsZero() || expires && !at.Equal(test.want) {
				t.Errorf("expires %t at %v", expires, at)
			}
		})
	}
}
