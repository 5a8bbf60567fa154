package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/policy"
)

// +kubebuilder:rbac:groups=migration.ms2m.dev,resources=migrationpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get

// policy finds the MigrationPolicy of a pod; nil: it has none.
func (s *scope) policy(ctx context.Context, pod *corev1.Pod) (*v1alpha1.MigrationPolicy, error) {
	if pod == nil {
		return nil, nil
	}
	return PolicyOf(ctx, s.Client, s.Live, pod)
}

// PolicyOf finds the MigrationPolicy of a pod; nil: it has none. Policies come from
// where they are watched. Namespaces are read live, and only if a policy asks for their
// labels: there are many, and they are looked at before a migration only.
func PolicyOf(ctx context.Context, cached, live client.Reader, pod *corev1.Pod) (*v1alpha1.MigrationPolicy, error) {
	var list v1alpha1.MigrationPolicyList
	if err := cached.List(ctx, &list); err != nil {
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

// notBegun are the migrations that have not begun: a policy that changes is theirs,
// or may become so.
func (r *Reconciler) notBegun(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.StatefulMigrationList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if pending(list.Items[i].Status.Phase) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}
