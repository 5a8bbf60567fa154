package migration

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
)

// Choose resolves a strategy, or says why the pod cannot be moved with it.
//
// Sequential needs somebody who makes the pod again under its name: that is what
// a StatefulSet does, and a ReplicaSet does not. Shadow needs a pod beside the
// other, which holds its volumes, too, and, of a StatefulSet's pod, stands where
// the ordinal is to go.
func Choose(spec v1alpha1.Strategy, kind owner.Kind, pod *corev1.Pod, volumes VolumeVerdict) (s v1alpha1.Strategy, refusal string) {
	if volumes.Refused != "" {
		return "", volumes.Refused
	}
	if kind != owner.StatefulSet {
		switch {
		case spec == v1alpha1.StrategySequential && kind == owner.ReplicaSet:
			return "", "spec.strategy: Sequential is for pods of a StatefulSet; a ReplicaSet gives each pod a name of its own, so that nothing tells which one the state is for: use Shadow"
		case spec == v1alpha1.StrategySequential:
			return "", "spec.strategy: Sequential is for pods of a StatefulSet; nobody would make a standalone pod again: use Shadow"
		case volumes.OnePodOnly != "":
			return "", fmt.Sprintf("%s: the copy could not be started beside the pod; only a StatefulSet's pod can be moved without one running beside the other (Sequential)", volumes.OnePodOnly)
		}
		return v1alpha1.StrategyShadow, ""
	}
	beside := volumes.OnePodOnly
	if beside == "" {
		beside = apart(pod)
	}
	switch spec {
	case v1alpha1.StrategySequential:
		return spec, ""
	case v1alpha1.StrategyShadow:
		if beside != "" {
			return "", fmt.Sprintf("spec.strategy: Shadow is not possible, as %s: use Sequential", beside)
		}
		return spec, ""
	}
	// A handler that writes to a volume would do so twice with a shadow that
	// applies the same messages. Whoever knows better says Shadow.
	if beside != "" || volumes.Shared != "" {
		return v1alpha1.StrategySequential, ""
	}
	return v1alpha1.StrategyShadow, ""
}

// apart says which of the pod's own rules keeps one with the same labels from
// its node, or nothing.
func apart(pod *corev1.Pod) string {
	if a := pod.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		for _, term := range a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			if ownNamespace(&term, pod.Namespace) && selects(term.LabelSelector, pod.Labels) {
				return fmt.Sprintf("the required podAntiAffinity (%s) of the pod keeps the shadow and the ordinal apart", term.TopologyKey)
			}
		}
	}
	for _, c := range pod.Spec.TopologySpreadConstraints {
		if c.WhenUnsatisfiable == corev1.DoNotSchedule && selects(c.LabelSelector, pod.Labels) {
			return fmt.Sprintf("the topologySpreadConstraint (%s, DoNotSchedule) of the pod counts the shadow where the ordinal is to go", c.TopologyKey)
		}
	}
	return ""
}

// ownNamespace reports whether a term is about pods of the namespace. What a
// selector of namespaces selects is not known here: it may be.
func ownNamespace(t *corev1.PodAffinityTerm, namespace string) bool {
	return t.NamespaceSelector != nil || len(t.Namespaces) == 0 || slices.Contains(t.Namespaces, namespace)
}

func selects(s *metav1.LabelSelector, set map[string]string) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(labels.Set(set))
}
