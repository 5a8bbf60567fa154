package migration_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestStranded: when the target of the way back is lost, or the shadow, the StatefulSet
// makes a pod that would wait for a checkpoint, or be Retired, for ever. It goes when the
// next one can begin anew, and that one is left alone.
func TestStranded(t *testing.T) {
	back := func(f *migration.Facts) {
		st := &f.Object.Status
		st.Hop, st.Attempt, st.SourcePodName, st.TargetPodName = 2, 0, "counter-abc", "counter"
		st.Owner = &v1alpha1.WorkloadReference{Kind: string(owner.StatefulSet), Name: "counter", UID: ownerUID, Revision: revision}
		st.Placement = &v1alpha1.Placement{PodName: "counter", OwnerUID: ownerUID, Handover: uid + "-2", Hostname: "node-b"}
		f.Object.Spec.SourcePod.Name, f.Owner = "counter", workload(owner.StatefulSet)
		f.Source.Pod, f.Source.Report = nil, nil
		f.Target.Pod, f.Target.Report = pod("counter", "next", "node-b"), nil
		condition(f.Object, v1alpha1.ConditionBuffered, metav1.ConditionTrue, "Done")
	}
	waits := func(f *migration.Facts) { // for a checkpoint
		f.Target.Pod.Labels[v1alpha1.LabelMigration] = uid
		f.Target.Pod.Annotations = map[string]string{v1alpha1.AnnotationHandover: uid + "-2"}
	}
	unplaced := func(f *migration.Facts) { f.Object.Status.Placement = nil }
	marked := all(done(migration.StepTransfersDeleted, migration.StepReplayQueueGone(handover.ReplayQueue(uid+"-2")), migration.StepImageDeleted(reference)), noLegs)
	unmarked := all(marked, done(migration.Marks{Handover: uid + "-2"}.Step()))
	next := func(t *testing.T, p migration.Plan) {
		if a := p.Action.(migration.DeletePod); a.UID != "next" {
			t.Errorf("%s is deleted", a.UID)
		}
	}
	last := func(t *testing.T, p migration.Plan) {
		next(t, p)
		if p.Status.Placement != nil {
			t.Errorf("the pod after it is placed as well: %+v", p.Status.Placement)
		}
	}
	rows := func(lost change, phase v1alpha1.MigrationPhase, reason string) []row {
		return []row{
			{name: "it is Retired", change: all(back, lost, marked), action: "DeletePod", reason: reason, check: func(t *testing.T, p migration.Plan) {
				next(t, p)
				if p.Status.Placement == nil {
					t.Error("the next one would be Retired as well")
				}
			}},
			{name: "it waits, and the marks stand", change: all(back, lost, waits, marked), action: "RemoveMarks", reason: reason},
			{name: "it waits, and they do not", change: all(back, lost, waits, unmarked), action: "DeletePod", reason: reason, check: last},
			{name: "it is going", change: all(back, lost, waits, unmarked, unplaced, func(f *migration.Facts) {
				at := metav1.NewTime(now)
				f.Target.Pod.DeletionTimestamp, f.Target.Pod.Spec.NodeName = &at, ""
			}), reason: reason},
			{name: "the next one is left alone", change: all(back, lost, unmarked, unplaced), action: "ended", phase: phase, reason: reason},
			{name: "there is none", change: all(back, lost, unmarked, func(f *migration.Facts) { f.Target.Pod = nil }), action: "ended", phase: phase, reason: reason},
		}
	}
	t.Run("the target", func(t *testing.T) {
		run(t, v1alpha1.PhaseFinalizing, rows(func(f *migration.Facts) {
			pause := int64(3)
			f.Object.Status.Pauses, f.Object.Status.TargetPodUID = &v1alpha1.Pauses{HandoverMillis: &pause}, "lost"
			condition(f.Object, v1alpha1.ConditionCommitted, metav1.ConditionTrue, "Committed")
			f.Decision = migration.Committed
		}, v1alpha1.PhaseCompleted, ""))
	})
	run(t, v1alpha1.PhaseCheckpointing, []row{{name: "the shadow lives, and it waits for the next try", change: all(back, waits, marked, func(f *migration.Facts) {
		f.Source.Pod = pod("counter-abc", sourceUID, "node-b")
		f.Target.Pod.Annotations[v1alpha1.AnnotationHandover] = uid + "-3"
		condition(f.Object, v1alpha1.ConditionSucceeded, metav1.ConditionFalse, "RestoreFailed")
		f.Decision = migration.Aborted
	}), action: "RemoveMarks", reason: "RestoreFailed", check: func(t *testing.T, p migration.Plan) {
		if p.Status.Placement == nil || p.Status.Placement.Handover != uid+"-3" {
			t.Errorf("the next is placed by %+v", p.Status.Placement)
		}
	}}})
	t.Run("the shadow", func(t *testing.T) {
		lost := func(f *migration.Facts) {
			f.Object.Status.TargetPodUID = ""
			condition(f.Object, v1alpha1.ConditionSucceeded, metav1.ConditionFalse, migration.ReasonSourceLost)
			f.Decision = migration.Aborted
		}
		run(t, v1alpha1.PhaseCheckpointing, rows(lost, v1alpha1.PhaseFailed, migration.ReasonSourceLost))

		run(t, v1alpha1.PhaseCheckpointing, []row{{name: "it was made for another try", change: all(back, lost, waits, marked, func(f *migration.Facts) {
			f.Object.Status.Placement.Handover, f.Target.Pod.Annotations[v1alpha1.AnnotationHandover] = uid+"-3", uid+"-3"
		}), action: "DeletePod", reason: migration.ReasonSourceLost, check: func(t *testing.T, p migration.Plan) {
			if p.Status.Placement == nil || p.Status.Placement.Handover != uid+"-2" {
				t.Errorf("the next would be made for it, too, and go: %+v", p.Status.Placement)
			}
		}}})

		// The hop into the shadow was kept for the next try. When the shadow is lost while a
		// try is tidied up, there is none, and what is left of both hops goes.
		into := all(back, lost, marked, func(f *migration.Facts) {
			f.Object.Status.Hops = []v1alpha1.Hop{{Hop: 1, Result: migration.ReasonCommitted, SourcePodName: "counter", SourcePodUID: sourceUID}}
			f.Target.Pod = nil
		})
		queue := handover.ReplayQueue(uid)
		run(t, v1alpha1.PhaseCheckpointing, []row{
			{name: "the queue of the hop into it", change: into, action: "DeleteReplayQueues", reason: migration.ReasonSourceLost, check: func(t *testing.T, p migration.Plan) {
				if a := p.Action.(migration.DeleteReplayQueues); len(a.Queues) != 1 || a.Queues[0] != queue {
					t.Errorf("%v are deleted, want %s", a.Queues, queue)
				}
			}},
			{
				name: "its marks", change: all(into, unmarked, done(migration.StepReplayQueueGone(queue))),
				action: "RemoveMarks", reason: migration.ReasonSourceLost, check: func(t *testing.T, p migration.Plan) {
					if a := p.Action.(migration.RemoveMarks); len(a.Marks) != 1 || a.Marks[0].Handover != uid {
						t.Errorf("%+v are removed", a.Marks)
					}
				},
			},
		})
	})
}
