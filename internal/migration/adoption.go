package migration

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
)

// Unseen changes a copy so that the ReplicaSet does not take it for its own
// before the hand-over; or says why it would. TargetPod has left out
// pod-template-hash, which is enough for the ReplicaSets of Deployments. Of one
// with another selector the copy does without one of the labels that it selects
// by; notes say which, as Services and NetworkPolicies may select by it, too.
//
// Not with a controller of another kind: docs/owners.md.
func Unseen(pod *corev1.Pod, w owner.Workload) (notes []string, refusal string) {
	if w.Kind != owner.ReplicaSet || !w.Selector.Matches(labels.Set(pod.Labels)) {
		return nil, ""
	}
	requirements, _ := w.Selector.Requirements()
	for _, r := range requirements { // sorted by key
		value, has := pod.Labels[r.Key()]
		if !has {
			continue
		}
		delete(pod.Labels, r.Key())
		if !w.Selector.Matches(labels.Set(pod.Labels)) {
			return []string{"label " + r.Key() + " until the hand-over"}, ""
		}
		pod.Labels[r.Key()] = value
	}
	return nil, fmt.Sprintf("the selector of the ReplicaSet %q matches the copy whichever label it does without, so that the ReplicaSet would take it for its own before the hand-over", w.Name)
}

// Adoption is what a copy gets at the hand-over so that it belongs to the
// ReplicaSet as the source does. given are the labels that the ReplicaSet gives
// its pods, which tell more than the source, if that is gone already.
func Adoption(ref v1alpha1.WorkloadReference, source *corev1.Pod, given map[string]string) (labels map[string]string, controller metav1.OwnerReference) {
	labels = maps.Clone(given)
	if source != nil {
		labels = maps.Clone(source.Labels)
		// Those are the copy's own.
		for _, key := range []string{v1alpha1.LabelMigration, corev1.LabelTopologyZone, corev1.LabelTopologyRegion} {
			delete(labels, key)
		}
		if i := slices.IndexFunc(source.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == ref.UID }); i >= 0 {
			return labels, *source.OwnerReferences[i].DeepCopy()
		}
	}
	return labels, *metav1.NewControllerRef(&metav1.ObjectMeta{Name: ref.Name, UID: ref.UID}, appsv1.SchemeGroupVersion.WithKind(ref.Kind))
}
