package migration_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
)

func TestUnseen(t *testing.T) {
	set := func(s *metav1.LabelSelector) owner.Workload {
		return owner.FromReplicaSet(&appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Selector: s}}, nil)
	}
	match := func(kv map[string]string) owner.Workload { return set(&metav1.LabelSelector{MatchLabels: kv}) }
	for name, test := range map[string]struct {
		w    owner.Workload
		want map[string]string
		says string
	}{
		"of a Deployment":  {w: match(map[string]string{"app": "counter", "pod-template-hash": "1"}), want: map[string]string{"app": "counter", "tier": "x"}},
		"bare":             {w: match(map[string]string{"app": "counter"}), want: map[string]string{"tier": "x"}},
		"bare, two labels": {w: match(map[string]string{"app": "counter", "tier": "x"}), want: map[string]string{"tier": "x"}},
		"no label needed":  {w: set(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}}}}), want: map[string]string{"app": "counter", "tier": "x"}, says: "whichever label"},
		"a StatefulSet":    {w: owner.Workload{Kind: owner.StatefulSet, Selector: labels.Everything()}, want: map[string]string{"app": "counter", "tier": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			copied := with(func(p *corev1.Pod) { p.Labels["tier"] = "x" })
			notes, why := migration.Unseen(copied, test.w)
			says(t, why, test.says)
			if diff := cmp.Diff(test.want, copied.Labels); diff != "" {
				t.Error(diff)
			}
			if (len(notes) > 0) != (len(copied.Labels) < 2) {
				t.Errorf("notes %v", notes)
			}
		})
	}
}

// TestAdoption: what a copy lacks of its source, it has when it is adopted.
func TestAdoption(t *testing.T) {
	yes := true
	ref := v1alpha1.WorkloadReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "counter", UID: "1"}
	controller := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "counter", UID: "1", Controller: &yes, BlockOwnerDeletion: &yes}
	source := with(func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "App", Name: "app", UID: "2"}, controller}
		p.Labels["pod-template-hash"], p.Labels[corev1.LabelTopologyZone], p.Labels[v1alpha1.LabelMigration] = "1", "a", "an earlier move"
	})
	given := map[string]string{"app": "counter", "pod-template-hash": "1"}
	for name, s := range map[string]*corev1.Pod{"from the source": source, "the source is gone": nil} {
		t.Run(name, func(t *testing.T) {
			l, c := migration.Adoption(ref, s, given)
			if diff := cmp.Diff(controller, c); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(given, l); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnmerged: the API server adds matchLabelKeys to the selector beside them
// once, and refuses them the second time.
func TestUnmerged(t *testing.T) {
	merged := func(keys ...string) *metav1.LabelSelector {
		s := &metav1.LabelSelector{MatchLabels: map[string]string{"x": "y"}}
		for _, k := range keys {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: k, Operator: metav1.LabelSelectorOpIn, Values: []string{map[string]string{"app": "counter", "pod-template-hash": "1"}[k]}})
		}
		return s
	}
	not := merged()
	not.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"counter"}}, {Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}}}
	keys := []string{"app", "pod-template-hash"}
	source := with(func(p *corev1.Pod) {
		p.Labels["pod-template-hash"] = "1"
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MatchLabelKeys: keys, LabelSelector: merged(keys...)}, {LabelSelector: merged("app")}}
		p.Spec.Affinity = &corev1.Affinity{
			PodAffinity:     &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{MatchLabelKeys: keys, LabelSelector: merged(keys...)}, {MatchLabelKeys: keys}}},
			PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{PodAffinityTerm: corev1.PodAffinityTerm{MismatchLabelKeys: keys, LabelSelector: not}}}},
		}
	})
	s := moved(t, source).Spec
	// The copy has no pod-template-hash: the requirement stays, and nothing is added.
	for name, test := range map[string]struct{ got, want *metav1.LabelSelector }{
		"spread":                   {s.TopologySpreadConstraints[0].LabelSelector, merged("pod-template-hash")},
		"the user's own":           {s.TopologySpreadConstraints[1].LabelSelector, merged("app")},
		"affinity":                 {s.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector, merged("pod-template-hash")},
		"no selector":              {s.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[1].LabelSelector, nil},
		"mismatch, the user's too": {s.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.LabelSelector, &metav1.LabelSelector{MatchLabels: not.MatchLabels, MatchExpressions: not.MatchExpressions[1:]}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
