package migration_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// FuzzNext plans for whatever stands in an object and is observed, whether or not it
// can come about: a status may be written by hand, and a report by anybody at the
// broker. Nothing must panic, and no action be bound to nothing or to somebody else.
func FuzzNext(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(nextProperty))
}

// TestNextWhateverIsSeen is the same with rapid's own choice of cases, which knows
// the generators: of the fuzzer's inputs, which does not, most end early.
func TestNextWhateverIsSeen(t *testing.T) { rapid.Check(t, nextProperty) }

func nextProperty(t *rapid.T) {
	facts := anyFacts(t)
	before := facts.Object.DeepCopy()
	plan := migration.Next(facts)
	if !reflect.DeepEqual(before, facts.Object) {
		t.Error("the object was changed, which is the cache's")
	}
	if wrong := unbound(facts, plan); wrong != "" {
		t.Errorf("%s: %T %+v\nstatus: %+v", wrong, plan.Action, plan.Action, facts.Object.Status)
	}
	for _, c := range plan.Status.Conditions {
		if c.Reason == "" {
			t.Errorf("the condition %s has no reason, which the API requires", c.Type)
		}
	}
}

// unbound says what is wrong with an action.
func unbound(f migration.Facts, plan migration.Plan) string {
	empty := func(fields ...string) string {
		if i := slices.Index(fields, ""); i >= 0 {
			return fmt.Sprintf("field %d is empty", i)
		}
		return ""
	}
	switch a := plan.Action.(type) {
	case migration.Send:
		return empty(a.Command.PodUID, a.Command.Migration, string(a.Command.Kind))
	case migration.SetHolds:
		return empty(a.Keys...)
	case migration.CreateReplayQueue:
		return empty(a.Queue)
	case migration.Checkpoint:
		return empty(a.Node, a.Pod, a.Container)
	case migration.CreateTransfer:
		return emptyLeg(a, empty)
	case migration.VerifyImage:
		return empty(a.Reference)
	case migration.CreateTarget:
		if a.Pod.Namespace != f.Object.Namespace {
			return "a pod in another namespace"
		}
		return empty(a.Pod.Name, a.Pod.Labels[v1alpha1.LabelMigration])
	case migration.OpenGate:
		return notThere(f, a.Name, a.UID)
	case migration.Expend:
		return notThere(f, a.Name, a.UID)
	case migration.Adopt:
		return notThere(f, a.Name, a.UID)
	case migration.SettleTarget:
		return notThere(f, a.Name, a.UID)
	case migration.DeletePod:
		if a.UID == f.Object.Status.SourcePodUID && !committed(f, plan) {
			return "the source is deleted, and no COMMIT is known of"
		}
		return notThere(f, a.Name, a.UID)
	case migration.DeleteReplayQueues:
		return empty(a.Queues...)
	case migration.DeleteImage:
		return empty(a.Reference)
	case migration.RemoveMarks:
		for _, m := range a.Marks {
			if wrong := empty(append([]string{m.Handover}, m.Keys...)...); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

func emptyLeg(a migration.CreateTransfer, empty func(...string) string) string {
	s := a.Spec
	fields := []string{a.Name, s.NodeName, string(s.MigrationUID), s.PodName, string(s.PodUID), s.Container}
	switch s.Direction {
	case v1alpha1.TransferPush:
		fields = append(fields, s.Archive, s.Repository)
	case v1alpha1.TransferFetch, v1alpha1.TransferStage:
		fields = append(fields, s.Image)
	}
	return empty(fields...)
}

// notThere says that a pod was not observed: it would be somebody else's.
func notThere(f migration.Facts, name string, uid types.UID) string {
	for _, p := range append([]corev1.Pod{}, append(pods(f.Source.Pod, f.Target.Pod), f.Newcomers...)...) {
		if p.Name == name && p.UID == uid && uid != "" {
			return ""
		}
	}
	return "no pod of that name and UID was seen"
}

func pods(list ...*corev1.Pod) (out []corev1.Pod) {
	for _, p := range list {
		if p != nil {
			out = append(out, *p)
		}
	}
	return out
}

// committed reports whether there is a trace of COMMIT in the facts.
func committed(f migration.Facts, plan migration.Plan) bool {
	if f.Decision == migration.Committed {
		return true
	}
	for _, c := range plan.Status.Conditions {
		if c.Type == v1alpha1.ConditionCommitted && c.Status == metav1.ConditionTrue {
			return true
		}
	}
	return false
}

var kinds = []string{
	v1alpha1.ConditionReady, v1alpha1.ConditionBuffered, v1alpha1.ConditionCheckpointed, v1alpha1.ConditionTransferred,
	v1alpha1.ConditionRestored, v1alpha1.ConditionCutOff, v1alpha1.ConditionTakeover, v1alpha1.ConditionReplayed,
	v1alpha1.ConditionCommitted, v1alpha1.ConditionServing, v1alpha1.ConditionAdopted, v1alpha1.ConditionReturned,
	v1alpha1.ConditionCleanedUp, v1alpha1.ConditionSucceeded,
}

func anyOf[T any](t *rapid.T, label string, of ...T) T { return rapid.SampledFrom(of).Draw(t, label) }

func anyFacts(t *rapid.T) migration.Facts {
	o := object(anyOf(t, "phase", "", v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
		v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing, v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, "Dancing"))
	o.Spec.Strategy = anyOf(t, "strategy", v1alpha1.StrategyAuto, v1alpha1.StrategyShadow, v1alpha1.StrategySequential)
	o.Spec.CheckpointRetention = anyOf(t, "retention", v1alpha1.RetentionDelete, v1alpha1.RetentionRetain)
	if anyOf(t, "deleted", false, false, true) {
		at := metav1.NewTime(now.Add(-anyOf(t, "ago", 0, time.Hour)))
		o.DeletionTimestamp = &at
	}
	anyStatus(t, &o.Status)
	kind := anyOf(t, "kind", owner.Standalone, owner.ReplicaSet, owner.StatefulSet)
	f := migration.Facts{
		Now: now, Policy: migration.DefaultPolicy(), Object: o,
		Source: anyInstance(t, "source", o.Status.SourcePodUID), Target: anyInstance(t, "target", o.Status.TargetPodUID),
		Preflight: preflight(), Hostname: anyOf(t, "hostname", "", "host"),
		Thaw: anyLeg(t, "thaw"), Push: anyLeg(t, "push"), Fetch: anyLeg(t, "fetch"), Stage: anyLeg(t, "stage"), Sweep: anyLeg(t, "sweep"),
		Transfers: anyOf(t, "transfers", 0, 3),
		Decision:  anyOf(t, "decision", migration.Unread, migration.Undecided, migration.Committed, migration.Aborted),
		Calling:   anyOf(t, "calling", false, false, false, true),
		Done:      map[migration.Step]bool{},
	}
	if anyOf(t, "watched", true, false) {
		f.Samples = []migration.Sample{{At: now.Add(-time.Second)}}
	}
	if anyOf(t, "owned", true, false) {
		f.Owner = workload(kind)
	}
	if anyOf(t, "newcomer", false, true) {
		f.Newcomers = []corev1.Pod{*pod("newcomer", "uid-new", anyOf(t, "newcomer's node", "", "node-a"))}
	}
	for _, step := range []migration.Step{
		migration.StepHolds, migration.StepReplayQueue, migration.StepTransfersDeleted, migration.StepReplayQueueGone(handover.ReplayQueue(uid)),
		migration.Marks{Handover: uid, KeepDecision: true}.Step(), migration.Marks{Handover: uid}.Step(), migration.StepImageVerified("r@d"), migration.StepImageDeleted("r@d"),
	} {
		f.Done[step] = anyOf(t, string(step), true, false)
	}
	if anyOf(t, "checkpoint", false, true) {
		f.Checkpoint = &migration.CheckpointResult{
			Attempt: anyOf[int32](t, "of attempt", 0, 1, 2), Called: now.Add(-time.Second), At: now, Archive: anyOf(t, "archive", "", "a.tar"),
			Before: anyReport(t, "before").Status, After: anyReport(t, "after").Status, Resumed: anyOf(t, "resumed", true, false),
		}
		if anyOf(t, "failed", false, true) {
			f.Checkpoint.Err = migration.Passing(migration.ReasonCheckpointFailed, errTest)
		}
	}
	if anyOf(t, "failure", false, false, true) {
		f.Failure = migration.Passing(migration.ReasonCheckpointFailed, errTest)
	}
	return f
}

func anyStatus(t *rapid.T, s *v1alpha1.StatefulMigrationStatus) {
	s.Epoch, s.AttemptEpoch = anyOf[int64](t, "epoch", 0, 1), anyOf[int64](t, "attempt's epoch", 0, 1)
	s.Attempt, s.Hop = anyOf[int32](t, "attempt", 0, 1, 2, 9), anyOf[int32](t, "hop", 0, 1, 2, 3)
	s.Strategy = anyOf(t, "chosen", "", v1alpha1.StrategyShadow, v1alpha1.StrategySequential)
	s.SourcePodName, s.SourcePodUID, s.SourceNode = anyOf(t, "source's name", "", "counter"), anyOf[types.UID](t, "source's UID", "", "uid-source"), anyOf(t, "source's node", "", "node-a")
	s.TargetPodName, s.TargetPodUID, s.TargetNode = anyOf(t, "target's name", "", "counter", "copy"), anyOf[types.UID](t, "target's UID", "", "uid-target"), anyOf(t, "target's node", "", "node-b")
	s.Container, s.CheckpointID = anyOf(t, "container", "", "main"), anyOf(t, "archive's name", "", "a.tar")
	at := metav1.NewMicroTime(now.Add(-anyOf(t, "since", 0, time.Second, 10*time.Hour)))
	if anyOf(t, "started", true, false) {
		s.AttemptStartedAt = &at
	}
	if anyOf(t, "frozen", true, false) {
		s.FrozenAt = &at
	}
	if anyOf(t, "timed", true, false) {
		s.PhaseTimes = []v1alpha1.PhaseTime{{Phase: s.Phase, StartedAt: at}}
	} else {
		s.PhaseTimes = nil
	}
	s.CheckpointImage = anyOf(t, "image", nil, &v1alpha1.CheckpointImage{}, &v1alpha1.CheckpointImage{Reference: "r@d", Digest: "d"}).DeepCopy()
	s.Pauses = anyOf(t, "pauses", nil, &v1alpha1.Pauses{}, &v1alpha1.Pauses{HandoverMillis: new(int64)}).DeepCopy()
	s.Throttle = anyOf(t, "throttle", nil, &v1alpha1.Throttle{Since: at, ChangedAt: at, PaceMillis: 40}, &v1alpha1.Throttle{Since: at, ChangedAt: at, EndedAt: &at}).DeepCopy()
	if k := anyOf(t, "owner", owner.Standalone, owner.ReplicaSet, owner.StatefulSet); k != owner.Standalone {
		s.Owner = &v1alpha1.WorkloadReference{APIVersion: "apps/v1", Kind: string(k), Name: "counter", UID: ownerUID, Revision: revision}
	}
	if anyOf(t, "placed", false, true) {
		s.Placement = &v1alpha1.Placement{PodName: "counter", OwnerUID: ownerUID}
	}
	for _, kind := range kinds {
		if status := anyOf(t, kind, "", "", metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown); status != "" {
			s.Conditions = append(s.Conditions, metav1.Condition{
				Type: kind, Status: status, LastTransitionTime: metav1.NewTime(at.Time),
				Reason: anyOf(t, kind+"'s reason", migration.ReasonWaiting, migration.ReasonFrozen, migration.ReasonMarksLeft, string(handover.ReasonNotPaused)),
			})
		}
	}
	for hop := range rapid.Int32Range(0, 2).Draw(t, "hops") {
		s.Hops = append(s.Hops, v1alpha1.Hop{Hop: hop + 1, EndedAt: at, SourcePodName: "counter",
			SourcePodUID: anyOf[types.UID](t, "hop's source", "", "uid-1"), Result: anyOf(t, "result", migration.ReasonCommitted, migration.ReasonDeadline),
			CheckpointImage: anyOf(t, "hop's image", nil, &v1alpha1.CheckpointImage{}, &v1alpha1.CheckpointImage{Reference: "r@d"}).DeepCopy()})
	}
}

func anyInstance(t *rapid.T, who string, uid types.UID) migration.Instance {
	in := migration.Instance{Sent: map[handover.CommandKind]migration.Sent{}}
	if anyOf(t, who+"'s pod", true, true, false) {
		p := pod(anyOf(t, who+"'s pod's name", "counter", "copy"), string(anyOf(t, who+"'s pod's UID", uid, "uid-other")), anyOf(t, who+"'s pod's node", "", "node-a", "node-b"))
		p.Status.Phase = anyOf(t, who+"'s pod's phase", corev1.PodPending, corev1.PodRunning, corev1.PodFailed)
		if p.UID == "" {
			p.UID = "uid-another"
		}
		if anyOf(t, who+"'s pod is marked", true, false) {
			p.Labels[v1alpha1.LabelMigration] = string(anyOf[types.UID](t, who+"'s migration", uid, "other"))
		}
		if anyOf(t, who+"'s pod goes", false, false, true) {
			at := metav1.NewTime(now)
			p.DeletionTimestamp = &at
		}
		if anyOf(t, who+"'s pod runs", true, false) {
			p.Status.ContainerStatuses = nil
		}
		in.Pod = p
	}
	if anyOf(t, who+" answers", true, true, false) {
		in.Report = anyReport(t, who)
	}
	for _, kind := range []handover.CommandKind{handover.Hello, handover.Prepare, handover.Resume, handover.StartReplay, handover.Freeze, handover.Abort, handover.Retire} {
		if anyOf(t, fmt.Sprint(who, " was sent ", kind), false, true) {
			sent := migration.Sent{First: now.Add(-time.Minute), At: now.Add(-anyOf(t, "sent", 0, time.Minute)), Attempt: anyOf[int32](t, "for attempt", 0, 1, 2)}
			if anyOf(t, "answered", false, true) {
				sent.Answer = anyReport(t, who+"'s answer")
			}
			in.Sent[kind] = sent
		}
	}
	return in
}

func anyReport(t *rapid.T, who string) *handover.Report {
	return &handover.Report{
		Version: handover.Version, Kind: anyOf(t, who+" says", handover.ReportProgress, handover.ReportRefused, handover.ReportLive, "NOISE"),
		Answers: anyOf(t, who+" answers", "", handover.Abort, handover.Prepare), Reason: anyOf(t, who+"'s reason", "", handover.ReasonNotPaused, handover.ReasonStale, handover.ReasonGap),
		Message: anyOf(t, who+"'s words", "", strings.Repeat("x", 5000)),
		Status: handover.Status{
			State: anyOf(t, who+"'s state", "", handover.Live, handover.Draining, handover.Paused, handover.Relaying, handover.Finishing, handover.Frozen,
				handover.Retired, handover.Restored, handover.Replaying, handover.Void, handover.Held, "Dancing"),
			Migration: anyOf(t, who+"'s migration", uid, "other", ""), Attempt: anyOf(t, who+"'s attempt", 0, 1, 2), Queue: anyOf(t, who+"'s queue", "orders", ""),
			Decision: anyOf(t, who+" has read", handover.Undecided, handover.Commit, handover.Aborted, "MAYBE"),
			Number:   rapid.Uint64().Draw(t, who+"'s number"), Confirmed: rapid.Uint64().Draw(t, who+" has confirmed"), Rate: rapid.Float64().Draw(t, who+"'s rate"),
			Capacity:   anyOf(t, who+"'s capacity", 0, 100.0, -1),
			PaceMillis: anyOf[int64](t, who+"'s pace", 0, 40, -1),
		},
	}
}

func anyLeg(t *rapid.T, which string) *v1alpha1.CheckpointTransfer {
	if anyOf(t, which, true, false) {
		return nil
	}
	l := leg(anyOf(t, which+" has", "", metav1.ConditionTrue, metav1.ConditionFalse), anyOf(t, which+"'s reason", "Done", v1alpha1.TransferReasonUnattended), "words")
	l.Spec.KeepFrozen = anyOf(t, which+" keeps", true, false)
	l.Status.Image = anyOf(t, which+"'s image", nil, &v1alpha1.CheckpointImage{}, &v1alpha1.CheckpointImage{Reference: "r@d", Digest: "d"}).DeepCopy()
	return l
}
