// Package lookup reads what it takes to find the MigrationPolicy of a pod.
package lookup

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/policy"
)

// Of is the MigrationPolicy of a pod; nil: it has none. Policies are read from
// policies, where a manager watches them. Namespaces are read live, and only if a
// policy asks for their labels: there are many, and few are ever looked at.
func Of(ctx context.Context, policies, live client.Reader, pod *corev1.Pod) (*v1alpha1.MigrationPolicy, error) {
	var list v1alpha1.MigrationPolicyList
	if err := policies.List(ctx, &list); err != nil {
		return nil, err
	}
	var ns corev1.Namespace
	for i := range list.Items {
		if len(list.Items[i].Spec.Selectors.NamespaceSelector) == 0 {
			continue
		}
		if err := live.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &ns); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		break
	}
	return policy.Match(pod.Labels, ns.Labels, list.Items), nil
}
