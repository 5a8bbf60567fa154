package migration_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// going is a target that was deleted and is still there.
func going(f *migration.Facts) {
	at := metav1.NewTime(now)
	f.Target.Pod.DeletionTimestamp = &at
}

// done is after steps were done.
func done(steps ...migration.Step) change {
	return func(f *migration.Facts) {
		for _, s := range steps {
			f.Done[s] = true
		}
	}
}

// TestAborting goes the way back from Replaying.
func TestAborting(t *testing.T) {
	giving := func(f *migration.Facts) {
		condition(f.Object, v1alpha1.ConditionSucceeded, metav1.ConditionFalse, "Gap")
	}
	won := all(giving, func(f *migration.Facts) { f.Decision = migration.Aborted })
	live := all(won, source(handover.Live, func(r *handover.Report) { r.Status.Decision = handover.Aborted }))
	gone := all(live, func(f *migration.Facts) { f.Target.Pod, f.Target.Report = nil, nil })
	const abort = "Send ABORT to the source"
	run(t, v1alpha1.PhaseReplaying, []row{
		{name: "ABORT first", change: giving, action: "WriteAbort", reason: "Gap"},
		{name: "too late: COMMIT stands", change: all(giving, func(f *migration.Facts) { f.Decision = migration.Committed }, target(handover.Live)),
			action: "Send RETIRE to the source", phase: v1alpha1.PhaseFinalizing},
		{name: "the source is told", change: won, action: abort, reason: "Gap"},
		{name: "the source is mute", change: all(won, func(f *migration.Facts) { f.Source.Sent = said(handover.Abort) }, later(61*time.Second)), action: "DeletePod", reason: "Gap"},
		{name: "the target goes", change: live, action: "DeletePod", reason: "Gap", check: func(t *testing.T, p migration.Plan) {
			if a := p.Action.(migration.DeletePod); a.UID != targetUID || a.Grace == nil || *a.Grace != 1 {
				t.Errorf("%+v", a)
			}
		}},
		{name: "a target that was not recorded goes, too", change: all(live, func(f *migration.Facts) {
			f.Object.Status.TargetPodUID = ""
			f.Target.Pod.Annotations = map[string]string{v1alpha1.AnnotationHandover: uid}
		}), action: "DeletePod", reason: "Gap"},
		{name: "one that its owner made for the next hop stays", change: all(live, func(f *migration.Facts) {
			f.Target.Pod.UID = "x"
			f.Target.Pod.Annotations = map[string]string{v1alpha1.AnnotationHandover: uid + "-2"}
		}), action: "DeleteTransfers", reason: "Gap"},
		{name: "a stranger of the target's name stays", change: all(live, func(f *migration.Facts) { f.Target.Pod.UID = "x"; f.Target.Pod.Labels = nil }), action: "DeleteTransfers", reason: "Gap"},
		{name: "the target is going", change: all(live, going), reason: "Gap"},
		{name: "the target is going, and waits for a checkpoint that nobody stages", change: all(live, going, func(f *migration.Facts) { f.Stage = nil }), action: "Withdraw", reason: "Gap", check: func(t *testing.T, p migration.Plan) {
			if a := p.Action.(migration.Withdraw); a.Pod != targetUID || a.Leg.Spec.PodUID != targetUID || a.Leg.Spec.NodeName != "node-b" {
				t.Errorf("%+v", a)
			}
		}},
		{name: "… or that was being staged", change: all(live, going, func(f *migration.Facts) { f.Stage = leg("", "", "") }), action: "Withdraw", reason: "Gap"},
		{name: "… until it was told", change: all(live, going, done(migration.StepWithdrawn(targetUID)), func(f *migration.Facts) { f.Stage = nil }), reason: "Gap"},
		{name: "… which it was not if it never had a node", change: all(live, going, func(f *migration.Facts) { f.Stage, f.Target.Pod.Spec.NodeName = nil, "" }), reason: "Gap"},
		{name: "the legs go", change: gone, action: "DeleteTransfers", reason: "Gap"},
		{name: "the legs are going", change: all(gone, done(migration.StepTransfersDeleted)), reason: "Gap"},
		{name: "after two attempts it is swept", change: all(gone, func(f *migration.Facts) {
			f.Object.Status.Attempt, f.Source.Report.Status.Attempt = 2, 2
		}), action: "CreateTransfer", reason: "Gap"},
		{name: "the sweeping is waited for", change: all(gone, func(f *migration.Facts) { f.Object.Status.Attempt, f.Sweep = 2, leg("", "", "") }), reason: "Gap"},
		{name: "it cannot be asked for", change: all(gone, done(migration.StepUnswept), func(f *migration.Facts) { f.Object.Status.Attempt = 2 }), action: "DeleteTransfers", reason: "Gap"},
		{name: "but not for ever", change: all(gone, func(f *migration.Facts) { f.Object.Status.Attempt, f.Sweep = 2, leg("", "", "") }, func(f *migration.Facts) {
			f.Now = f.Now.Add(time.Minute)
			f.Source.Sent[handover.Hello] = migration.Sent{At: f.Now}
		}), action: "DeleteTransfers", reason: "Gap"},
		{name: "the queue goes", change: all(gone, done(migration.StepTransfersDeleted), noLegs), action: "DeleteReplayQueues", reason: "Gap"},
		{name: "the image goes", change: all(gone, done(migration.StepTransfersDeleted, queueGone), noLegs), action: "DeleteImage", reason: "Gap"},
		{name: "the image stays", change: all(gone, done(migration.StepTransfersDeleted, queueGone), noLegs, func(f *migration.Facts) {
			f.Object.Spec.CheckpointRetention = v1alpha1.RetentionRetain
		}), action: "RemoveMarks", reason: "Gap"},
		{name: "the marks go last", change: all(gone, done(migration.StepTransfersDeleted, queueGone, migration.StepImageDeleted(reference)), noLegs), action: "RemoveMarks", reason: "Gap"},
		{name: "failed", change: all(gone, done(everything...), noLegs), action: "ended", phase: v1alpha1.PhaseFailed, reason: "Gap"},
		{name: "a mute source finds the decision", change: all(won, done(everything...), noLegs, func(f *migration.Facts) {
			f.Target.Pod, f.Done[marksGone] = nil, false
			f.Source.Sent = said(handover.Abort)
		}, later(61*time.Second)), action: "ended", phase: v1alpha1.PhaseFailed, reason: "Gap", check: func(t *testing.T, p migration.Plan) {
			for _, c := range p.Status.Conditions {
				if c.Type == v1alpha1.ConditionCommitted && c.Reason == migration.ReasonMarksLeft {
					return
				}
			}
			t.Error("nothing is said about the marks")
		}},
		{name: "abandoned, deleted", change: all(giving, deleted, later(10*time.Minute)), action: "ended", phase: v1alpha1.PhaseFailed, reason: "Gap", check: leftBehind},
		{name: "abandoned, the broker does not come back", change: all(giving, since(now), later(10*time.Minute)), action: "ended", phase: v1alpha1.PhaseFailed, reason: "Gap", check: leftBehind},
		{name: "not abandoned yet", change: all(giving, since(now), later(9*time.Minute)), action: "WriteAbort", reason: "Gap"},
	})
}

var (
	queueGone = migration.StepReplayQueueGone(handover.ReplayQueue(uid))
	marksGone = migration.Marks{Handover: uid}.Step()
)

var everything = []migration.Step{
	migration.StepTransfersDeleted, queueGone, migration.StepImageDeleted(reference), marksGone,
}

func noLegs(f *migration.Facts) { f.Push, f.Stage, f.Transfers = nil, nil, 0 }

// since is when the migration was given up.
func since(at time.Time) change {
	return func(f *migration.Facts) {
		meta.FindStatusCondition(f.Object.Status.Conditions, v1alpha1.ConditionSucceeded).LastTransitionTime = metav1.NewTime(at)
	}
}

// leftBehind checks that what is left is said.
func leftBehind(t *testing.T, p migration.Plan) {
	if !meta.IsStatusConditionFalse(p.Status.Conditions, v1alpha1.ConditionCleanedUp) {
		t.Errorf("nothing is said about what is left: %+v", p.Status.Conditions)
	}
}

// TestForward goes on after COMMIT.
func TestForward(t *testing.T) {
	committed := func(f *migration.Facts) {
		condition(f.Object, v1alpha1.ConditionCommitted, metav1.ConditionTrue, "Committed")
		pause := int64(3)
		f.Object.Status.Pauses = &v1alpha1.Pauses{HandoverMillis: &pause}
		f.Target.Report = report(targetUID, handover.Live)
	}
	gone := all(committed, func(f *migration.Facts) { f.Source.Pod, f.Source.Report = nil, nil })
	unready := func(f *migration.Facts) { f.Target.Pod.Status.Conditions[1].Status = corev1.ConditionFalse }
	going := func(f *migration.Facts) { at := metav1.NewTime(now); f.Source.Pod.DeletionTimestamp = &at }
	processesEnded := func(f *migration.Facts) {
		f.Source.Pod.Status.Phase = corev1.PodSucceeded
		f.Source.Pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	}
	run(t, v1alpha1.PhaseFinalizing, []row{
		{name: "the source's node does not come back", change: all(committed, func(f *migration.Facts) { at := metav1.NewTime(now); f.Source.Pod.DeletionTimestamp = &at }, later(15*time.Minute)),
			action: "ended", phase: v1alpha1.PhaseCompleted, check: leftBehind},
		{name: "Services are let in first", change: all(committed, func(f *migration.Facts) {
			f.Target.Pod.Status.Conditions = nil
			f.Target.Pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: v1alpha1.ConditionLive}}
		}), action: "OpenGate"},
		{name: "or need not be", change: all(committed, func(f *migration.Facts) { f.Target.Pod.Status.Conditions = f.Target.Pod.Status.Conditions[1:] }), action: "Send RETIRE to the source"},
		{name: "the legs go while the target is waited for", change: all(committed, source(handover.Retired), unready), action: "DeleteTransfers"},
		{name: "not before the source knows", change: all(committed, unready), action: "Send RETIRE to the source"},
		{name: "the marks stay meanwhile", change: all(committed, source(handover.Retired), unready, done(migration.StepTransfersDeleted, queueGone, migration.StepImageDeleted(reference)), noLegs)},
		{name: "but not for ever", change: all(committed, source(handover.Retired), func(f *migration.Facts) {
			unready(f)
			condition(f.Object, v1alpha1.ConditionServing, metav1.ConditionFalse, "Waiting")
			f.Object.Status.Conditions[len(f.Object.Status.Conditions)-1].LastTransitionTime = metav1.NewTime(now.Add(-time.Minute))
		}), action: "DeletePod"},
		{name: "the legs go while the source is going", change: all(committed, source(handover.Retired), going), action: "DeleteTransfers"},
		{name: "the source's processes end", change: all(committed, source(handover.Retired), going, func(f *migration.Facts) { f.Source.Pod.Status.Phase = corev1.PodSucceeded }), action: "DeleteTransfers"},
		{name: "its processes have ended", change: all(committed, source(handover.Retired), going, processesEnded), action: "DeletePod", check: func(t *testing.T, p migration.Plan) {
			if a := p.Action.(migration.DeletePod); a.UID != sourceUID || a.Grace == nil || *a.Grace != 0 {
				t.Errorf("%+v", a)
			}
		}},
		{name: "and it has a volume from elsewhere", change: all(committed, source(handover.Retired), going, processesEnded, func(f *migration.Facts) {
			f.Source.Pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
		}), action: "DeleteTransfers"},
		{name: "nobody listens in the source", change: all(committed, func(f *migration.Facts) {
			f.Source.Sent = said(handover.Retire)
			f.Source.Sent[handover.Retire] = migration.Sent{First: now, At: now, Attempt: 1, NoInstance: true}
		}), action: "DeletePod"},
		{name: "the source is another's", change: all(committed, func(f *migration.Facts) { f.Source.Pod.UID = "x" }), action: "DeleteTransfers"},
		{name: "the legs go", change: gone, action: "DeleteTransfers"},
		{name: "the target's mark goes", change: all(gone, done(everything...), noLegs), action: "SettleTarget", phase: v1alpha1.PhaseFinalizing},
		{name: "completed", change: all(gone, done(everything...), noLegs, func(f *migration.Facts) { f.Target.Pod.Labels = nil }), action: "ended", phase: v1alpha1.PhaseCompleted},
		{name: "the target is not heard yet", change: all(committed, func(f *migration.Facts) {
			f.Object.Status.Pauses.HandoverMillis = nil
			f.Target.Report = report(targetUID, handover.Replaying)
		})},
		{name: "the target may not know that it has won", change: all(gone, done(migration.StepTransfersDeleted, queueGone, migration.StepImageDeleted(reference)), noLegs, func(f *migration.Facts) {
			f.Object.Status.Pauses.HandoverMillis = nil
			f.Target.Report, f.Target.Sent = report(targetUID, handover.Replaying), said(handover.Hello)
			f.Target.Sent[handover.Hello] = migration.Sent{At: now.Add(301 * time.Second)}
		}, later(301*time.Second))},
		{name: "the target has died", change: all(gone, func(f *migration.Facts) {
			f.Object.Status.Pauses.HandoverMillis, f.Target.Pod, f.Target.Report = nil, nil, nil
		}), action: "DeleteTransfers"},
	})
}

// TestTerminal does nothing any more, whatever is observed.
func TestTerminal(t *testing.T) {
	for _, phase := range []v1alpha1.MigrationPhase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed} {
		run(t, phase, []row{{name: string(phase), change: deleted, action: "ended", phase: phase}})
	}
	run(t, "Dancing", []row{{name: "a later version's", phase: "Dancing"}})
}

// fences checks what TAKEOVER fences off.
func fences(pod string) func(*testing.T, migration.Plan) {
	return func(t *testing.T, p migration.Plan) {
		if c := p.Action.(migration.Send).Command; c.FencePodUID != pod {
			t.Errorf("fences %q off, want %q", c.FencePodUID, pod)
		}
		for _, c := range p.Status.Conditions {
			if c.Type == v1alpha1.ConditionTakeover && c.Status == metav1.ConditionTrue {
				return
			}
		}
		t.Error("no condition tells about the takeover")
	}
}
