// Package agent does the legs of checkpoints that begin or end on one node: it
// packs and pushes archives of the kubelet, pulls and stages checkpoints for the
// shim, and removes both.
//
// A leg is a CheckpointTransfer. Everything that the agent does for one can be
// done again after a crash at any point: the image of an archive has the same
// digest whenever it is packed, a checkpoint is staged by a rename, and what is to
// be removed may be gone already.
package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/staging"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Registry is where checkpoints travel through; see the package registry.
type Registry interface {
	Push(ctx context.Context, repository, tag string, img v1.Image) (string, error)
	Pull(ctx context.Context, ref string) (v1.Image, error)
}

// Observer is told of legs and of the bytes that they moved.
type Observer interface {
	Leg(direction v1alpha1.TransferDirection, result string, took time.Duration)
	Pushed(bytes int64)
	Pulled(bytes int64)
}

// Reconciler does the CheckpointTransfers of one node.
type Reconciler struct {
	Client   client.Client
	Registry Registry
	Clock    clock.PassiveClock
	Observer Observer
	// Node is the name of this node.
	Node string
	// Archives is the directory in which the kubelet leaves its checkpoints.
	Archives string
	// Area is the directory that is shared with the shim.
	Area staging.Area
	// Pods is the directory in which the kubelet keeps a directory per pod, by
	// UID, and PodUID is the agent's own: see alive.
	Pods   string
	PodUID string

	mu      sync.Mutex
	running map[types.UID]context.CancelFunc
}

// Reconcile does one leg, or cleans up after it.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var t v1alpha1.CheckpointTransfer
	if err := r.Client.Get(ctx, req.NamespacedName, &t); err != nil {
		if apierrors.IsNotFound(err) {
			// A sweep before this moment may still have found it in the cache, and
			// have kept what only it awaited; its pod may have left long before.
			err = r.Sweep(ctx)
		}
		return reconcile.Result{}, err
	}
	if t.Spec.NodeName != r.Node {
		return reconcile.Result{}, nil
	}
	ctx = logged(ctx, &t)
	if !t.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, r.finalize(ctx, &t)
	}
	if c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.TransferComplete); c != nil && c.Status != metav1.ConditionUnknown {
		return reconcile.Result{}, r.tidy(&t)
	}
	// The manager sets the finalizer when it makes the object; this is for those
	// made by hand. It comes first: what is left on the node must not be forgotten.
	if base := t.DeepCopy(); controllerutil.AddFinalizer(&t, v1alpha1.FinalizerTransfer) {
		if err := r.Client.Patch(ctx, &t, onTopOf(base)); err != nil {
			return reconcile.Result{}, fmt.Errorf("add the finalizer: %w", err)
		}
	}
	return reconcile.Result{}, r.transfer(ctx, &t)
}

// logged has every line about a leg say which migration it is of.
func logged(ctx context.Context, t *v1alpha1.CheckpointTransfer) context.Context {
	return log.IntoContext(ctx, log.FromContext(ctx).WithValues(
		"migrationUID", t.Spec.MigrationUID, "direction", t.Spec.Direction, "attempt", t.Spec.Attempt))
}

// transfer does the leg and writes its status, once. It returns an error when
// the leg is to be tried again.
func (r *Reconciler) transfer(ctx context.Context, t *v1alpha1.CheckpointTransfer) error {
	ctx, done := r.begin(ctx, t.UID)
	defer done()
	base, start := t.DeepCopy(), r.Clock.Now()
	failure := fault.Of(r.leg(ctx, t))
	if err := ctx.Err(); err != nil {
		// The object is being deleted, or the agent ends: nobody waits for a verdict.
		return nil
	}
	c := metav1.Condition{Type: v1alpha1.TransferComplete, ObservedGeneration: t.Generation}
	result := "failed"
	switch {
	case failure == nil:
		result = "done"
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.TransferReasonDone
		t.Status.DurationMillis = new(r.Clock.Since(start).Milliseconds())
	case failure.Passing:
		result = "retrying"
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, failure.Reason, failure.Error()
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, failure.Reason, failure.Error()
	}
	if meta.SetStatusCondition(&t.Status.Conditions, c) {
		// The status is written on top of the version that was read, so that a leg
		// which a stale cache made us do again never overwrites its first result.
		if err := r.Client.Status().Patch(ctx, t, onTopOf(base)); err != nil {
			return fmt.Errorf("write the status: %w", err)
		}
	}
	r.Observer.Leg(t.Spec.Direction, result, r.Clock.Since(start))
	if failure != nil && failure.Passing {
		return failure
	}
	log.FromContext(ctx).Info("transfer ended", "reason", c.Reason, "message", c.Message,
		"took", r.Clock.Since(start).Round(time.Millisecond).String())
	return r.tidy(t)
}

func (r *Reconciler) leg(ctx context.Context, t *v1alpha1.CheckpointTransfer) error {
	switch t.Spec.Direction {
	case v1alpha1.TransferPush:
		return r.push(ctx, t)
	case v1alpha1.TransferFetch:
		return r.fetch(ctx, t)
	case v1alpha1.TransferStage:
		return r.stage(ctx, t)
	case v1alpha1.TransferSweep:
		return r.sweep(t)
	}
	return fault.Final(v1alpha1.TransferReasonFailed, "this agent knows no direction %q", t.Spec.Direction)
}

// begin makes the context of a leg, which Cancel ends.
func (r *Reconciler) begin(ctx context.Context, uid types.UID) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running = map[types.UID]context.CancelFunc{}
	}
	r.running[uid] = cancel
	return ctx, func() {
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running, uid)
	}
}

// Cancel ends the leg of that object if one is under way. Without it a deletion
// would wait behind a push that a registry does not let end.
func (r *Reconciler) Cancel(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel := r.running[uid]; cancel != nil {
		cancel()
	}
}

// onTopOf is a patch that fails when base is not the object's latest version.
func onTopOf(base *v1alpha1.CheckpointTransfer) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}
