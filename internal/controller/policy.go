package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/policy/lookup"
)

// +kubebuilder:rbac:groups=migration.ms2m.dev,resources=migrationpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get

// policy finds the MigrationPolicy of a pod; nil: it has none.
func (s *scope) policy(ctx context.Context, pod *corev1.Pod) (*v1alpha1.MigrationPolicy, error) {
	if pod == nil {
		return nil, nil
	}
	return lookup.Of(ctx, s.Client, s.Live, pod)
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
