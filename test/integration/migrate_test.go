package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// pods are the names of the service's pods.
func (w *world) pods() []string {
	w.t.Helper()
	var list corev1.PodList
	w.must(kube.List(w.ctx, &list, client.InNamespace(w.namespace)))
	var names []string
	for _, p := range list.Items {
		if p.Labels["app.kubernetes.io/name"] != v1alpha1.AgentName {
			names = append(names, p.Name)
		}
	}
	return names
}

// clean fails the test if a migration has left anything.
func (w *world) clean() {
	w.t.Helper()
	if left := w.traces(); len(left) > 0 {
		w.t.Errorf("left behind: %v", left)
	}
	var legs v1alpha1.CheckpointTransferList
	w.must(kube.List(w.ctx, &legs, client.InNamespace(w.namespace)))
	for _, l := range legs.Items {
		w.t.Errorf("left behind: %s", l.Name)
	}
}

// moved fails the test unless the target alone runs, and owns the state.
func (w *world) moved(target string) {
	w.t.Helper()
	if pods := w.pods(); len(pods) != 1 || pods[0] != target {
		w.t.Errorf("pods %v, want only %s", pods, target)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.commits != 1 {
		w.t.Errorf("%d commits, want 1", w.commits)
	}
	for pod, in := range w.instances {
		if in.State != handover.Live {
			w.t.Errorf("the instance in %s is %s", pod, in.State)
		}
	}
}

// stayed fails the test unless the source alone runs, as before.
func (w *world) stayed() {
	w.t.Helper()
	if pods := w.pods(); len(pods) != 1 || pods[0] != w.source.Name {
		w.t.Errorf("pods %v, want only %s", pods, w.source.Name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if in := w.instances[string(w.source.UID)]; in.State != handover.Live {
		w.t.Errorf("the source is %s, want Live", in.State)
	}
	if w.commits != 0 {
		w.t.Error("COMMIT was written")
	}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	w.create()
	m := w.phase(v1alpha1.PhaseCompleted)
	w.moved(m.Status.TargetPodName)
	w.clean()

	st := m.Status
	if st.SourceNode != nodeA || st.TargetNode != nodeB || st.CheckpointID == "" || st.CheckpointImage == nil {
		t.Errorf("status %+v", st)
	}
	if st.Pauses == nil || st.Pauses.CheckpointMillis == nil || *st.Pauses.CheckpointMillis != 12 || st.Pauses.HandoverMillis == nil {
		t.Errorf("pauses %+v", st.Pauses)
	}
	if st.Positions == nil || st.Positions.Checkpoint != 1 || st.Positions.Target != 1 {
		t.Errorf("positions %+v", st.Positions)
	}
	want := []v1alpha1.MigrationPhase{
		v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
		v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing, v1alpha1.PhaseCompleted,
	}
	for i, pt := range st.PhaseTimes {
		if i >= len(want) || pt.Phase != want[i] || (pt.DurationMillis == nil) != (pt.Phase == v1alpha1.PhaseCompleted) {
			t.Errorf("phase times %+v", st.PhaseTimes)
			break
		}
	}
	for _, c := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionCheckpointed, v1alpha1.ConditionTransferred,
		v1alpha1.ConditionRestored, v1alpha1.ConditionReplayed, v1alpha1.ConditionCommitted, v1alpha1.ConditionSucceeded} {
		if !meta.IsStatusConditionTrue(st.Conditions, c) {
			t.Errorf("condition %s is not true: %+v", c, meta.FindStatusCondition(st.Conditions, c))
		}
	}

	// Deleting the completed migration leaves the pod that has been moved.
	w.must(kube.Delete(w.ctx, m))
	w.eventually("the object to go", func() bool { return w.get("move") == nil })
	w.moved(m.Status.TargetPodName)
}
