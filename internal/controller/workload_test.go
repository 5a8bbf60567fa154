package controller_test

import (
	"testing"
	"time"

	"go.uber.org/mock/gomock"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestNewcomerGoesBeforeTheHolds: the copy has taken over from a source that died, and
// its ReplicaSet has adopted it; what it made in the source's place is still there.
// The ReplicaSet's status does not count the copy yet. The holds, under which the
// newcomer takes nothing, stay until it is gone.
func TestNewcomerGoesBeforeTheHolds(t *testing.T) {
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "set", Namespace: key.Namespace, UID: "set-uid"},
		Spec:       appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "counter"}}},
		Status:     appsv1.ReplicaSetStatus{Replicas: 2, ReadyReplicas: 2},
	}
	owned := func(p *corev1.Pod) *corev1.Pod {
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
		p.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
		return p
	}
	newcomer := owned(pod("newcomer", "newcomer-uid", "node-a"))
	newcomer.Finalizers = []string{"test/process"}
	newcomer.Annotations = map[string]string{corev1.PodDeletionCost: migration.LeastCost, v1alpha1.AnnotationDeletionCost: ""}
	r := newRig(t, object(v1alpha1.PhaseFinalizing, replaying, func(m *v1alpha1.StatefulMigration) {
		condition(m, v1alpha1.ConditionCommitted)
		condition(m, v1alpha1.ConditionServing)
		m.CreationTimestamp = newcomer.CreationTimestamp
		m.Status.Owner = &v1alpha1.WorkloadReference{Kind: "ReplicaSet", Name: set.Name, UID: set.UID}
		m.Status.Pauses = &v1alpha1.Pauses{HandoverMillis: ptr.To(int64(3))}
	}), interceptor.Funcs{}, owned(target()), owned(pod("sibling", "sibling-uid", "node-a")), newcomer, set).connected()
	if err := r.Client.Delete(t.Context(), pod("counter", sourceUID, "node-a")); err != nil {
		t.Fatal(err)
	}
	r.says(targetUID, handover.Status{State: handover.Live, Attempt: 1, Decision: handover.Commit})
	r.expectSend(handover.Hello, nil).AnyTimes()
	r.broker.EXPECT().DeleteQueue(gomock.Any(), handover.ReplayQueue(uid))
	r.registry.EXPECT().Delete(gomock.Any(), gomock.Any())
	r.reconcile() // the mocks know of no hold that is removed
	if phase := r.get().Status.Phase; phase != v1alpha1.PhaseFinalizing {
		t.Errorf("phase %s while the newcomer is there", phase)
	}
	if err := r.Client.Delete(t.Context(), newcomer); err != nil {
		t.Fatal(err)
	}
	r.later(time.Second)
	r.reconcile() // its process ends: the finalizer stands for that
	if phase := r.get().Status.Phase; phase != v1alpha1.PhaseFinalizing {
		t.Errorf("phase %s while the newcomer ends", phase)
	}
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(newcomer), newcomer); err != nil {
		t.Fatal(err)
	}
	newcomer.Finalizers = nil
	if err := r.Client.Update(t.Context(), newcomer); err != nil {
		t.Fatal(err)
	}
	r.later(time.Second)
	r.broker.EXPECT().RemoveHold(gomock.Any(), gomock.Any(), uid).MinTimes(1)
	r.broker.EXPECT().RemoveDecision(gomock.Any(), uid)
	r.broker.EXPECT().Forget(gomock.Any()).AnyTimes()
	r.brokers.EXPECT().Release(r.broker)
	r.reconcile()
	if phase := r.get().Status.Phase; phase != v1alpha1.PhaseCompleted {
		t.Errorf("phase %s when the newcomer is gone", phase)
	}
}
