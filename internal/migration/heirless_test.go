package migration_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestHeirless restores a state whose source has ceded: there is no way but forward.
func TestHeirless(t *testing.T) {
	ceded := func(f *migration.Facts) {
		st := &f.Object.Status
		st.Strategy, st.TargetNode, st.TargetPodName = v1alpha1.StrategySequential, "node-b", "counter"
		st.Owner = &v1alpha1.WorkloadReference{Kind: string(owner.StatefulSet), Name: "counter", UID: ownerUID}
		st.PhaseTimes[0].StartedAt = metav1.NewMicroTime(now.Add(-4 * time.Minute)) // it has fetched the checkpoint first
		condition(f.Object, v1alpha1.ConditionCommitted, metav1.ConditionTrue, "Committed")
		f.Decision, f.Owner, f.Hostname, f.Fetch = migration.Committed, workload(owner.StatefulSet), "node-b", leg(metav1.ConditionTrue, "Done", "")
		f.Source.Pod, f.Source.Report = nil, nil
		f.Target.Pod = pod("counter", targetUID, "")
		f.Target.Pod.Labels[v1alpha1.LabelMigration] = uid
		f.Target.Pod.Annotations = map[string]string{v1alpha1.AnnotationHandover: uid}
		f.Target.Pod.Status.ContainerStatuses = nil
	}
	made := func(ago time.Duration) change {
		return all(ceded, func(f *migration.Facts) { f.Target.Pod.CreationTimestamp = metav1.NewTime(now.Add(-ago)) })
	}
	run(t, v1alpha1.PhaseRestoring, []row{
		{name: "just made, and not placed yet", change: made(time.Second), check: func(t *testing.T, p migration.Plan) {
			if p.Status.TargetNode != "node-b" {
				t.Errorf("it goes to %q", p.Status.TargetNode)
			}
		}},
		{name: "has no place there", change: made(61 * time.Second), action: "DeletePod", check: func(t *testing.T, p migration.Plan) {
			if p.Status.TargetNode != "" {
				t.Errorf("it goes to %q", p.Status.TargetNode)
			}
		}},
		{name: "another than the one that answered", change: all(made(time.Second), target(handover.Restored), func(f *migration.Facts) {
			f.Object.Status.TargetPodUID, f.Target.Pod.UID = targetUID, "next"
			f.Target.Pod.Spec.NodeName, f.Stage = "node-b", leg(metav1.ConditionTrue, "Done", "")
		}), phase: v1alpha1.PhaseRestoring, check: func(t *testing.T, p migration.Plan) {
			if p.Status.TargetPodUID != "next" || !p.Until.Equal(now) {
				t.Errorf("the target is %s, and is looked at %v", p.Status.TargetPodUID, p.Until)
			}
		}},
	})
}
