package migration_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestWayBack: the pod that the state has left makes room for the one that it goes back
// to as soon as that can take nothing, but not while the source stands still.
func TestWayBack(t *testing.T) {
	back := func(change ...func(*corev1.Pod)) change {
		return func(f *migration.Facts) {
			st, at := &f.Object.Status, metav1.NewTime(now)
			st.Hop, st.SourcePodName, st.TargetPodName, st.TargetPodUID = 2, "counter-abc", "counter", ""
			st.Owner = &v1alpha1.WorkloadReference{Kind: string(owner.StatefulSet), Name: "counter", UID: ownerUID, Revision: revision}
			f.Object.Spec.SourcePod.Name, f.Owner = "counter", workload(owner.StatefulSet)
			f.Source.Pod = pod("counter-abc", sourceUID, "node-b")
			if f.Source.Report.Status.Migration != "" {
				f.Source.Report.Status.Migration += "-2"
			}
			f.Target.Pod, f.Target.Report = pod("counter", "left", "node-a"), nil
			f.Target.Pod.DeletionTimestamp, f.Target.Pod.Status.Phase = &at, corev1.PodSucceeded
			f.Target.Pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
			for _, c := range change {
				c(f.Target.Pod)
			}
		}
	}
	ends := func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }
	held := func(f *migration.Facts) { f.Done[migration.StepHolds] = true }
	run(t, v1alpha1.PhaseCheckpointing, []row{
		{name: "the hold first: whoever starts in its place takes nothing", change: back(), action: "SetHolds"},
		{name: "then it goes", change: all(back(), held), action: "DeletePod"},
		{name: "its process still ends: the queue is not kept waiting", change: all(back(ends), held), action: "CreateReplayQueue"},
		{name: "later, too", change: all(stands, back()), action: "DeletePod"},
		{name: "but not after PREPARE", change: all(attempt, back())},
		{name: "nor while the source stands still", change: all(attempt, source(handover.Paused), back()), action: "Checkpoint"},
		{name: "while the kubelet is at work there is time", change: all(calling, back()), action: "DeletePod"},
		{name: "unless it is done", change: all(calling, attending(ready, frozen), back()), action: sendResume},
		{name: "nor before it goes on", change: all(checkpointed(nil), source(handover.Paused), back())},
	})
	run(t, v1alpha1.PhaseTransferring, []row{
		{name: "while the checkpoint is on its way", change: all(func(f *migration.Facts) {
			f.Source.Sent, f.Push = said(handover.Prepare, handover.Resume), leg("", "", "")
			f.Checkpoint = &migration.CheckpointResult{Attempt: 1}
		}, back()), action: "DeletePod"},
	})
}

// TestShadowRestarted: a process that starts anew in the shadow while no holds of the next
// hop stand waits under those of the hop into it, whose COMMIT stands. It gets the next
// hop's, whose ABORT lets it begin, before another hop brings it back.
func TestShadowRestarted(t *testing.T) {
	const failed, abort = migration.ReasonRestoreFailed, "Send ABORT to the source"
	tried := func(last string, ago time.Duration) change {
		return func(f *migration.Facts) {
			st, ended := &f.Object.Status, metav1.NewMicroTime(now.Add(-ago))
			st.Hop, st.SourcePodName, st.TargetPodName, st.TargetPodUID = 3, "counter-abc", "counter", ""
			st.Hops = []v1alpha1.Hop{{Hop: 1, Result: migration.ReasonCommitted}, {Hop: 2, Result: last, EndedAt: ended}}
			st.Owner = &v1alpha1.WorkloadReference{Kind: string(owner.StatefulSet), Name: "counter", UID: ownerUID, Revision: revision}
			f.Object.Spec.SourcePod.Name, f.Owner = "counter", workload(owner.StatefulSet)
			f.Source.Pod, f.Target.Pod = pod("counter-abc", sourceUID, "node-b"), nil
		}
	}
	held := source(handover.Held, func(r *handover.Report) { r.Status.Migration = uid })
	given := all(stands, held, func(f *migration.Facts) { f.Decision = migration.Aborted })
	run(t, v1alpha1.PhaseCheckpointing, []row{
		{name: "it gets holds at once", change: all(tried(failed, 0), held), action: "SetHolds"},
		{name: "but not again and again", change: all(tried(migration.ReasonSourceRestarted, 0), held)},
		{name: "rather after a pause", change: all(tried(migration.ReasonSourceRestarted, time.Minute), held), action: "SetHolds"},
		{name: "then the hop is given up", change: all(tried(failed, 0), stands, held), action: "WriteAbort", reason: migration.ReasonSourceRestarted},
		{name: "it is told", change: all(tried(failed, 0), given), action: abort, reason: migration.ReasonAborted},
		{name: "and waited for", change: all(tried(failed, 0), given, func(f *migration.Facts) {
			f.Source.Sent[handover.Abort] = migration.Sent{First: now, At: now}
		}), reason: migration.ReasonAborted},
		{name: "before the hold goes", change: all(tried(failed, 0), given, source(handover.Live, func(r *handover.Report) { r.Answers = handover.Abort })), action: "DeleteTransfers", reason: migration.ReasonAborted},
		{name: "one that lives waits for the next try", change: tried(failed, 0)},
	})
}
