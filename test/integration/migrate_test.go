package integration

import (
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

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

// moved fails the test unless the target is in the source's place on node-b, has
// its state, and every hop had one COMMIT.
func (w *world) moved(m *v1alpha1.StatefulMigration) *corev1.Pod {
	w.t.Helper()
	pod := w.owned(m.Status.TargetPodName)
	w.mu.Lock()
	defer w.mu.Unlock()
	hops := 0
	for id, n := range w.commits {
		if n != 1 {
			w.t.Errorf("%d commits of %s, want 1", n, id)
		}
		hops++
	}
	if hops != w.kind.hops {
		w.t.Errorf("%d hops were committed, want %d", hops, w.kind.hops)
	}
	if pod == nil {
		return nil
	}
	if pod.UID == w.source.UID || pod.Spec.NodeName != m.Status.TargetNode {
		w.t.Errorf("the pod %s is on %s", pod.Name, pod.Spec.NodeName)
	}
	w.heir(pod)
	if len(w.instances) != w.kind.replicas {
		w.t.Errorf("%d instances, want %d", len(w.instances), w.kind.replicas)
	}
	return pod
}

// heir fails the test unless all instances are live, and the one in a pod is what
// became of the source's. The lock is held.
func (w *world) heir(pod *corev1.Pod) {
	w.t.Helper()
	for uid, in := range w.instances {
		if in.State != handover.Live {
			w.t.Errorf("the instance in %s is %s", w.started[uid].Name, in.State)
		}
		if heir := in.Incarnation == w.state; heir != (uid == string(pod.UID)) {
			w.t.Errorf("the instance in %s has the state: %t", w.started[uid].Name, heir)
		}
	}
}

// stayed fails the test unless the source alone runs, as before.
func (w *world) stayed() {
	w.t.Helper()
	w.owned(w.source.Name)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heir(w.source)
	if len(w.commits) != 0 {
		w.t.Error("COMMIT was written")
	}
}

// TestMigration moves a pod of each kind.
func TestMigration(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, k)
			w.start(nil)
			available := w.watch()
			w.create()
			m := w.phase(v1alpha1.PhaseCompleted)
			available()
			pod := w.moved(m)
			w.clean()
			w.told(m)
			if pod != nil && k.strategy != "" {
				w.asItsTemplate(pod, m)
			}

			// Deleting the completed migration leaves the pod that has been moved.
			w.must(kube.Delete(w.ctx, m))
			w.eventually("the object to go", func() bool { return w.get("move") == nil })
			w.moved(m)
		})
	}
}

// told fails the test unless the status tells of each phase and pause.
func (w *world) told(m *v1alpha1.StatefulMigration) {
	w.t.Helper()
	st := m.Status
	if st.TargetNode != nodeB || st.CheckpointID == "" || st.CheckpointImage == nil || st.Placement != nil || len(st.Hops) != w.kind.hops {
		w.t.Errorf("status %+v", st)
	}
	if st.Pauses == nil || st.Pauses.CheckpointMillis == nil || *st.Pauses.CheckpointMillis != 12 || st.Pauses.HandoverMillis == nil {
		w.t.Errorf("pauses %+v", st.Pauses)
	}
	if st.Positions == nil || st.Positions.Checkpoint < 1 || st.Positions.Target < st.Positions.Checkpoint {
		w.t.Errorf("positions %+v", st.Positions)
	}
	want := []v1alpha1.MigrationPhase{
		v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
		v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing, v1alpha1.PhaseCompleted,
	}
	for i, h := range st.Hops {
		if h.Hop != int32(i+1) || h.Result != migration.ReasonCommitted || h.Pauses == nil || (h.SourcePodUID == w.source.UID) != (i == 0) || h.TargetNode != nodeB {
			w.t.Errorf("hop %+v", h)
		}
	}
	if w.kind.hops > 1 {
		want = want[1:] // the way back has no Pending
	}
	for i, pt := range st.PhaseTimes {
		if i >= len(want) || pt.Phase != want[i] || (pt.DurationMillis == nil) != (pt.Phase == v1alpha1.PhaseCompleted) {
			w.t.Errorf("phase times %+v", st.PhaseTimes)
			break
		}
	}
	conditions := []string{
		v1alpha1.ConditionReady, v1alpha1.ConditionCheckpointed, v1alpha1.ConditionTransferred, v1alpha1.ConditionRestored,
		v1alpha1.ConditionReplayed, v1alpha1.ConditionCommitted, v1alpha1.ConditionServing, v1alpha1.ConditionSucceeded, v1alpha1.ConditionCleanedUp,
	}
	if w.kind.hops > 1 {
		conditions = append(conditions, v1alpha1.ConditionReturned)
	}
	for _, c := range conditions {
		if !meta.IsStatusConditionTrue(st.Conditions, c) {
			w.t.Errorf("condition %s is not true: %+v", c, meta.FindStatusCondition(st.Conditions, c))
		}
	}
}

// watch follows a Deployment until the function that it returns is called, which
// fails the test if a replica was missing meanwhile.
func (w *world) watch() (end func()) {
	w.t.Helper()
	if w.kind.name != deployment.name {
		return func() {}
	}
	all, err := kube.Watch(w.ctx, &appsv1.DeploymentList{}, client.InNamespace(w.namespace))
	w.must(err)
	var least, seen int32 = 100, 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range all.ResultChan() {
			if d, ok := e.Object.(*appsv1.Deployment); ok {
				least, seen = min(least, d.Status.ReadyReplicas), seen+1
			}
		}
	}()
	return func() {
		all.Stop()
		<-done
		if least < int32(w.kind.replicas) || seen == 0 {
			w.t.Errorf("only %d replicas were ready at some time (%d events)", least, seen)
		}
	}
}

// asItsTemplate fails the test unless a pod that a StatefulSet has made again
// during a migration differs from the source, which it had made before, in what
// the migration needs and in nothing else.
func (w *world) asItsTemplate(pod *corev1.Pod, m *v1alpha1.StatefulMigration) {
	w.t.Helper()
	id := migration.HandoverID(m)
	want := w.source.Spec.DeepCopy()
	want.NodeName = nodeB
	want.RuntimeClassName = ptr.To(v1alpha1.RuntimeClassName)
	want.NodeSelector = map[string]string{corev1.LabelHostname: nodeB}
	want.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: v1alpha1.ConditionLive}}
	want.Containers[0].Env = []corev1.EnvVar{{Name: handover.EnvMigration, Value: id}}
	if !equality.Semantic.DeepEqual(*want, pod.Spec) {
		w.t.Errorf("the spec differs from the template's:\n%+v\n%+v", pod.Spec, *want)
	}
	annotations := map[string]string{
		v1alpha1.AnnotationMigration: string(m.UID), v1alpha1.AnnotationHandover: id, v1alpha1.AnnotationContainer: "main",
	}
	if !maps.Equal(pod.Annotations, annotations) || !maps.Equal(pod.Labels, w.source.Labels) {
		w.t.Errorf("annotations %v, want %v; labels %v, want %v", pod.Annotations, annotations, pod.Labels, w.source.Labels)
	}
	if conditionOf(pod, v1alpha1.ConditionLive) != corev1.ConditionTrue {
		w.t.Error("the readiness gate is closed")
	}
}
