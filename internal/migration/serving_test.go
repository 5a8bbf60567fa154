package migration_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestJoin: where a ReplicaSet could choose another pod than the source, the source is
// made the cheapest to delete before the copy comes in; where it can't, nobody touches the source.
func TestJoin(t *testing.T) {
	joins := func(change ...func(*migration.Facts)) change {
		return func(f *migration.Facts) {
			condition(f.Object, v1alpha1.ConditionCommitted, metav1.ConditionTrue, "Committed")
			pause := int64(3)
			f.Object.Status.Pauses = &v1alpha1.Pauses{HandoverMillis: &pause}
			f.Object.Status.Owner = &v1alpha1.WorkloadReference{Kind: string(owner.ReplicaSet), Name: "counter", UID: ownerUID, Revision: revision}
			f.Owner = workload(owner.ReplicaSet)
			source(handover.Retired)(f)
			target(handover.Live)(f)
			for _, c := range change {
				c(f)
			}
		}
	}
	run(t, v1alpha1.PhaseFinalizing, []row{
		{name: "nobody else", change: joins(), action: "Adopt"},
		{name: "a sibling", change: joins(func(f *migration.Facts) { f.Owner.Replicas = 2 }), action: "Expend"},
		{name: "the copy is counted, and its owner not seen yet", change: joins(func(f *migration.Facts) { f.Owner.Surplus = 1 }), action: "Adopt"},
		{name: "a newcomer", change: joins(func(f *migration.Facts) { f.Newcomers = []corev1.Pod{*pod("counter-new", "new", "node-a")} }), action: "Expend"},
		{name: "a source that is as dear as the copy", change: joins(func(f *migration.Facts) {
			f.Source.Pod.Annotations = map[string]string{corev1.PodDeletionCost: migration.MostCost}
		}), action: "Expend"},
		{name: "a ReplicaSet that is not seen", change: joins(func(f *migration.Facts) { f.Owner = nil }), action: "Expend"},
	})
}
