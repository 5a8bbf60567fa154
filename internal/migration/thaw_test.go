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

// begun is after the attempt was recorded; nobody has been asked for anything.
func begun(f *migration.Facts) {
	attempt(f)
	f.Source.Sent = said(handover.Hello)
}

// attending is an agent that has said so much of the attempt.
func attending(said ...metav1.Condition) change {
	return func(f *migration.Facts) {
		f.Thaw = leg("", "", "")
		f.Thaw.Spec.Attempt = f.Object.Status.Attempt
		for _, c := range said {
			meta.SetStatusCondition(&f.Thaw.Status.Conditions, c)
		}
	}
}

func is(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "said so"}
}

var (
	ready   = is(v1alpha1.TransferReady, metav1.ConditionTrue, "Done")
	frozen  = is(v1alpha1.TransferFrozen, metav1.ConditionTrue, "Done")
	good    = is(v1alpha1.TransferComplete, metav1.ConditionTrue, "Done")
	changed = is(v1alpha1.TransferComplete, metav1.ConditionFalse, v1alpha1.TransferReasonChanged)
)

// calling is while the kubelet is at work.
func calling(f *migration.Facts) {
	attempt(f)
	f.Calling = true
	source(handover.Paused)(f)
}

// answered is after a call during which the source was told to go on.
func answered(err *migration.Error) change {
	return all(checkpointed(err), func(f *migration.Facts) {
		f.Checkpoint.Resumed, f.Checkpoint.After.State = true, handover.Relaying
	})
}

// TestAttend: the source is not stopped before its node's agent watches, unless
// that takes too long.
func TestAttend(t *testing.T) {
	run(t, v1alpha1.PhaseCheckpointing, []row{
		{name: "after a crash the transfer is made again", change: begun, action: createTransfer},
		{name: "the agent has not seen it yet", change: all(begun, attending())},
		{name: "it watches", change: all(begun, attending(ready)), action: sendPrepare, check: func(t *testing.T, p migration.Plan) {
			if c := p.Action.(migration.Send).Command; c.Attempt != 1 || c.ReplayQueue != handover.ReplayQueue(uid) || c.DeadlineMillis != 60000 {
				t.Errorf("command %+v", c)
			}
		}},
		{name: "a second attempt has more time", change: all(begun, func(f *migration.Facts) { f.Object.Status.Attempt = 2 }, attending(ready)), action: sendPrepare, check: func(t *testing.T, p migration.Plan) {
			if c := p.Action.(migration.Send).Command; c.Attempt != 2 || c.DeadlineMillis != 120000 {
				t.Errorf("command %+v", c)
			}
		}},
		{name: "it can't watch", change: all(begun, attending(good)), action: sendPrepare},
		{name: "it is silent", change: all(begun, attending(), later(10*time.Second)), action: sendPrepare},
		{name: "the API server does not take the transfer", change: all(begun, func(f *migration.Facts) {
			f.Blocked = migration.Blocked{Action: createTransfer, Until: f.Now.Add(time.Second)}
		})},
		{name: "for ever", change: all(begun, func(f *migration.Facts) {
			f.Blocked = migration.Blocked{Action: createTransfer, Until: f.Now.Add(time.Minute)}
		}, later(10*time.Second)), action: sendPrepare},
		{name: "half of a short deadline is for the source", change: all(begun, attending(), func(f *migration.Facts) {
			f.Object.Spec.Deadlines.CheckpointSeconds = 4
		}, later(2*time.Second)), action: sendPrepare},
	})
}

// TestResume: RESUME is sent when the source is frozen for CRIU, and not before; nothing else
// is done until the kubelet has answered.
func TestResume(t *testing.T) {
	run(t, v1alpha1.PhaseCheckpointing, []row{
		{name: "the kubelet is at work", change: all(calling, attending(ready))},
		{name: "nobody attends", change: calling},
		{name: "the source is frozen", change: all(calling, attending(ready, frozen)), action: sendResume},
		{name: "RESUME is on its way", change: all(calling, attending(ready, frozen), func(f *migration.Facts) {
			f.Source.Sent = said(handover.Prepare, handover.Resume)
		})},
		{name: "the source has gone on", change: all(calling, attending(ready, frozen), source(handover.Relaying))},
		{name: "the report is of an attempt before", change: all(calling, attending(ready, frozen), source(handover.Paused, func(r *handover.Report) { r.Status.Attempt = 0 }))},
		{name: "a deletion waits for the kubelet", change: all(calling, attending(ready), deleted)},
		{name: "so does a source that is lost", change: all(calling, func(f *migration.Facts) { f.Source.Pod = nil })},
		{name: "the instances hear from the manager meanwhile", change: all(calling, attending(ready), later(time.Minute)), action: helloSource},
	})
}

// TestVerdict: an image counts when the agent has nothing against it.
func TestVerdict(t *testing.T) {
	keptFrozen := func(f *migration.Facts) { f.Thaw.Spec.KeepFrozen = true }
	run(t, v1alpha1.PhaseCheckpointing, []row{
		{name: "good", change: all(answered(nil), attending(ready, frozen, good), func(f *migration.Facts) {
			f.Checkpoint.Called = f.Now.Add(3 * time.Millisecond)
			f.Thaw.Status.Times = &v1alpha1.CheckpointTimes{BeginMillis: 20, DumpMillis: 100, FreezingMillis: 1, FrozenMillis: 90, ThawMillis: 10}
		}, source(handover.Relaying, func(r *handover.Report) { r.Status.PauseMillis = 150 })),
			action: createTransfer, phase: v1alpha1.PhaseTransferring, check: func(t *testing.T, p migration.Plan) {
				parts := p.Status.Pauses.Checkpoint
				if parts == nil || parts.Node == nil || *p.Status.Pauses.CheckpointMillis != 150 || *parts.DrainMillis != 3 || *parts.CallMillis != 17 {
					t.Errorf("pauses %+v of %+v", p.Status.Pauses, parts)
				}
			}},
		{name: "the agent still looks", change: all(answered(nil), attending(ready, frozen))},
		{name: "the agent does not say", change: all(answered(nil), attending(ready, frozen), later(11*time.Second)), action: createTransfer, check: secondAttempt},
		{name: "nor that it watches", change: all(checkpointed(nil), attending(), later(11*time.Second)), action: createTransfer, check: secondAttempt},
		{name: "files are newer than memory", change: all(answered(nil), attending(ready, frozen, changed), later(2*time.Second)), action: createTransfer, check: secondAttempt},
		{name: "the kubelet fails after the source was told to go on", change: all(answered(migration.Passing(migration.ReasonCheckpointFailed, errTest)), attending(ready, frozen), later(2*time.Second)),
			action: createTransfer, check: secondAttempt},
		{name: "what was kept frozen needs no verdict", change: all(answered(nil), attending(ready, frozen), keptFrozen),
			action: createTransfer, phase: v1alpha1.PhaseTransferring},
		{name: "there is no agent", change: checkpointed(nil), action: createTransfer, phase: v1alpha1.PhaseTransferring, check: func(t *testing.T, p migration.Plan) {
			if parts := p.Status.Pauses.Checkpoint; parts.Node != nil || parts.CallMillis != nil {
				t.Errorf("parts %+v", parts)
			}
		}},
		{name: "the answer was heard with the source still paused", change: all(checkpointed(nil), attending(ready, good), source(handover.Paused), func(f *migration.Facts) {
			f.Source.Sent = said(handover.Prepare)
		}), action: sendResume},
	})
}
