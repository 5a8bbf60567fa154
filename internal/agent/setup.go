package agent

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"ms2m.dev/ms2m/api/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Back-off of a leg that failed in passing.
const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// CacheOptions let a manager's cache hold the transfers of one node only.
func CacheOptions(node string) cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&v1alpha1.CheckpointTransfer{}: {Field: fields.OneTermEqualSelector("spec.nodeName", node)},
	}}
}

// SetupWithManager makes m reconcile the transfers in its cache, so many at once.
// It removes what an agent that was killed left half done, so it comes before
// the manager's start.
func (r *Reconciler) SetupWithManager(ctx context.Context, m ctrl.Manager, concurrency int) error {
	if err := r.Area.Prepare(); err != nil {
		return err
	}
	if err := r.Area.RemoveDrafts(); err != nil {
		return err
	}
	informer, err := m.GetCache().GetInformer(ctx, &v1alpha1.CheckpointTransfer{})
	if err != nil {
		return err
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj any) {
			if t, ok := obj.(*v1alpha1.CheckpointTransfer); ok && !t.DeletionTimestamp.IsZero() {
				r.Cancel(t.UID)
			}
		},
	}); err != nil {
		return err
	}
	if err := m.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if !m.GetCache().WaitForCacheSync(ctx) {
			return nil
		}
		return r.sweepAlways(ctx)
	})); err != nil {
		return err
	}
	return builder.ControllerManagedBy(m).
		For(&v1alpha1.CheckpointTransfer{}, builder.WithPredicates(ours(func(d v1alpha1.TransferDirection) bool { return d != v1alpha1.TransferThaw }))).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrency,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				minBackoff, maxBackoff),
		}).
		Complete(r)
}

// SetupWithManager makes m attend the checkpoints that its cache holds Thaws of.
// They have a queue of their own: a source waits for them, while pushes can take minutes.
func (r *Thawer) SetupWithManager(m ctrl.Manager) error {
	return builder.ControllerManagedBy(m).
		Named("thaw").
		For(&v1alpha1.CheckpointTransfer{}, builder.WithPredicates(ours(func(d v1alpha1.TransferDirection) bool { return d == v1alpha1.TransferThaw }))).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

// ours lets through what is new about transfers of some directions. A change of
// the status is the agent's own; a deletion changes the generation.
func ours(direction func(v1alpha1.TransferDirection) bool) predicate.Predicate {
	return predicate.And(predicate.GenerationChangedPredicate{}, predicate.NewPredicateFuncs(func(o client.Object) bool {
		t, ok := o.(*v1alpha1.CheckpointTransfer)
		return ok && direction(t.Spec.Direction)
	}))
}
