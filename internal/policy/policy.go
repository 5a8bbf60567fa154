// Package policy finds the MigrationPolicy of a pod, and what holds for a migration
// under it. It is pure. Why it is so: docs/decisions/0015.
package policy

import (
	"cmp"

	"k8s.io/apimachinery/pkg/labels"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Match is the policy of a pod, by its labels and its namespace's: of those that
// select it the most specific; nil: none does.
func Match(pod, namespace map[string]string, policies []v1alpha1.MigrationPolicy) *v1alpha1.MigrationPolicy {
	var best *v1alpha1.MigrationPolicy
	for i := range policies {
		p := &policies[i]
		s := p.Spec.Selectors
		selects := labels.SelectorFromSet(s.NamespaceSelector).Matches(labels.Set(namespace)) &&
			labels.SelectorFromSet(s.PodSelector).Matches(labels.Set(pod))
		if selects && p.DeletionTimestamp == nil && (best == nil || order(p, best) < 0) {
			best = p
		}
	}
	return best
}

// order is negative if a is more specific than b.
func order(a, b *v1alpha1.MigrationPolicy) int {
	x, y := a.Spec.Selectors, b.Spec.Selectors
	return cmp.Or(
		cmp.Compare(len(y.NamespaceSelector)+len(y.PodSelector), len(x.NamespaceSelector)+len(x.PodSelector)),
		cmp.Compare(len(y.PodSelector), len(x.PodSelector)),
		cmp.Compare(a.Name, b.Name),
	)
}

// Drain is what the eviction of a pod comes to: the pod itself says it, else its policy;
// empty: neither does. A word that is unknown is Evict: nobody's eviction is held up by
// mistake.
func Drain(annotations map[string]string, p *v1alpha1.MigrationPolicy) v1alpha1.DrainPolicy {
	said, ok := annotations[v1alpha1.AnnotationDrain]
	switch {
	case !ok && (p == nil || p.Spec.Drain == ""):
		return ""
	case !ok:
		said = string(p.Spec.Drain)
	}
	if v1alpha1.DrainPolicy(said) == v1alpha1.DrainMigrate {
		return v1alpha1.DrainMigrate
	}
	return v1alpha1.DrainEvict
}
