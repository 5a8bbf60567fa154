package controller

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/queue"
)

// indexSourcePod finds the migrations that move a pod, by its name.
const indexSourcePod = "spec.sourcePod.name"

// maxSteps bounds the actions of one reconcile, so that a planner that goes
// round in circles does not keep a worker for ever.
const maxSteps = 32

// Reconciler carries StatefulMigrations through.
type Reconciler struct {
	Client client.Client
	// Live reads past the cache: what must not be decided on a stale view, and
	// what is read too seldom to be watched.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	Policy   migration.Policy
	Kubelet  Checkpointer
	Registry Registry
	Access   Access
	Brokers  Brokers
	Sessions *Sessions
	// AgentNamespace is where the node agents run.
	AgentNamespace string
	// KubeletDirect is how Kubelet reaches kubelets: which permission it takes.
	KubeletDirect bool
	// Workers is how many migrations are reconciled at a time.
	Workers int
	// Limits bound how many are active at a time.
	Limits queue.Limits
	// Observers are told of every status that was written; Failures of actions that failed.
	Observers []Observer
	Failures  Failures

	turns turns
}

// +kubebuilder:rbac:groups=migration.ms2m.dev,resources=statefulmigrations,verbs=get;list;watch;update;delete
// +kubebuilder:rbac:groups=migration.ms2m.dev,resources=statefulmigrations/status,verbs=update
// +kubebuilder:rbac:groups=migration.ms2m.dev,resources=statefulmigrations/finalizers,verbs=update
// +kubebuilder:rbac:groups=migration.ms2m.dev,resources=checkpointtransfers,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch
// +kubebuilder:rbac:groups=apps,resources=statefulsets;replicasets;deployments,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims;persistentvolumes,verbs=get
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=node.k8s.io,resources=runtimeclasses,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager registers the reconciler and what wakes it.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.StatefulMigration{}, indexSourcePod,
		func(o client.Object) []string {
			return []string{o.(*v1alpha1.StatefulMigration).Spec.SourcePod.Name}
		})
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.StatefulMigration{}).
		Watches(&v1alpha1.StatefulMigration{}, r.turnChanges()).
		Owns(&v1alpha1.CheckpointTransfer{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.migrationsOf)).
		Watches(&v1alpha1.MigrationPolicy{}, handler.EnqueueRequestsFromMapFunc(r.notBegun)).
		WatchesRawSource(r.Sessions.source()).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers, RateLimiter: rateLimiter()}).
		Complete(r)
}

// rateLimiter is that of what failed. By default it would wait for up to a quarter
// of an hour after an API server that was not to be reached for some minutes.
func rateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, 10*time.Second)
}

// migrationsOf finds the migrations that a pod takes part in: as the target,
// which is labelled, or as the source, which is not touched.
func (r *Reconciler) migrationsOf(ctx context.Context, pod client.Object) []reconcile.Request {
	var out []reconcile.Request
	if uid := pod.GetLabels()[v1alpha1.LabelMigration]; uid != "" {
		if key, ok := r.Sessions.find(types.UID(uid)); ok {
			out = append(out, reconcile.Request{NamespacedName: key})
		}
	}
	var list v1alpha1.StatefulMigrationList
	if err := r.Client.List(ctx, &list, client.InNamespace(pod.GetNamespace()),
		client.MatchingFields{indexSourcePod: pod.GetName()}); err != nil {
		return out
	}
	for i := range list.Items {
		if !ended(&list.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// ended reports whether a migration is over and leaves nothing to do.
func ended(m *v1alpha1.StatefulMigration) bool {
	return m.Status.Phase == v1alpha1.PhaseCompleted || m.Status.Phase == v1alpha1.PhaseFailed
}

// Reconcile does for one migration what can be done now.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	m, err := r.fetch(ctx, req.NamespacedName)
	switch {
	case apierrors.IsNotFound(err):
		r.close(r.Sessions.end(req.NamespacedName))
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	// Namespace and name, by which every line is marked, may be another migration's tomorrow.
	ctx = log.IntoContext(ctx, log.FromContext(ctx).WithValues("migrationUID", m.UID))
	switch {
	case ended(m):
		r.close(r.Sessions.end(req.NamespacedName))
		return r.finish(ctx, m)
	case !migration.Known(m.Status.Phase):
		return r.leave(ctx, m)
	}
	if m.DeletionTimestamp == nil && controllerutil.AddFinalizer(m, v1alpha1.FinalizerMigration) {
		// Before anything is done that the finalizer would have to undo.
		if err := r.Client.Update(ctx, m); err != nil {
			return settled(err)
		}
	}
	if !controllerutil.ContainsFinalizer(m, v1alpha1.FinalizerMigration) {
		return ctrl.Result{}, nil // deleted before it was begun
	}
	s, stale := r.Sessions.open(req.NamespacedName, m.UID)
	r.close(stale)
	if s.claimed && s.epoch != m.Status.Epoch {
		if wait := r.standBack(s, m); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
		// What was known of it is old.
		r.close(r.Sessions.end(req.NamespacedName))
		s, _ = r.Sessions.open(req.NamespacedName, m.UID)
	}
	if !s.claimed {
		if err := r.claim(ctx, m, s); err != nil {
			return settled(err)
		}
	}
	sc := &scope{Reconciler: r, session: s, object: m, key: req.NamespacedName}
	return sc.run(ctx)
}

// fetch reads the object: from the cache, unless the cache has not seen yet
// what this process wrote last. Planning on an older status would do twice
// what was recorded as begun.
func (r *Reconciler) fetch(ctx context.Context, key types.NamespacedName) (*v1alpha1.StatefulMigration, error) {
	m := &v1alpha1.StatefulMigration{}
	if err := r.Client.Get(ctx, key, m); err != nil {
		return nil, err
	}
	if s := r.Sessions.peek(key); s != nil && s.version != "" && s.version != m.ResourceVersion {
		fresh := &v1alpha1.StatefulMigration{}
		if err := r.Live.Get(ctx, key, fresh); err != nil {
			return nil, err
		}
		s.version = fresh.ResourceVersion
		return fresh, nil
	}
	return m, nil
}

// claim makes this process the one that carries the migration. A command of an
// earlier epoch is refused from then on; the write fails if another process
// has written meanwhile.
func (r *Reconciler) claim(ctx context.Context, m *v1alpha1.StatefulMigration, s *session) error {
	m.Status.Epoch++
	if err := r.Client.Status().Update(ctx, m); err != nil {
		return err
	}
	s.claimed, s.epoch, s.version, s.lastWrite = true, m.Status.Epoch, m.ResourceVersion, r.Clock.Now()
	return nil
}

// finish leaves an ended migration to whoever deletes it: when its time has
// come, that is the manager.
func (r *Reconciler) finish(ctx context.Context, m *v1alpha1.StatefulMigration) (ctrl.Result, error) {
	if err := r.letGo(ctx, m); err != nil {
		return settled(err)
	}
	at, expires := migration.ExpiresAt(m)
	switch left := at.Sub(r.Clock.Now()); {
	case !expires || m.DeletionTimestamp != nil:
		return ctrl.Result{}, nil
	case left > 0:
		return ctrl.Result{RequeueAfter: left}, nil
	}
	// By UID: another of the same name may have been made meanwhile.
	return settled(r.Client.Delete(ctx, m, client.Preconditions{UID: &m.UID}))
}

// standBack says how long to leave the migration to the process that has claimed it
// after this one: until nothing of that is seen for as long as instances wait for a
// manager. The lease of the leader sees to it that there are two for a moment only;
// this to it that they do not pull at one rope in two directions meanwhile.
func (r *Reconciler) standBack(s *session, m *v1alpha1.StatefulMigration) time.Duration {
	now := r.Clock.Now()
	if s.rival.version != m.ResourceVersion {
		s.rival = rival{version: m.ResourceVersion, since: now}
	}
	return s.rival.since.Add(r.Policy.Lease).Sub(now)
}

// leave leaves a migration alone that is in a phase of a later version: neither the
// phase nor what else that has written and this version does not know is to be lost. If it
// is deleted, and no such manager comes, only the finalizer goes.
func (r *Reconciler) leave(ctx context.Context, m *v1alpha1.StatefulMigration) (ctrl.Result, error) {
	log.FromContext(ctx).Info("left to a manager that knows the phase", "phase", m.Status.Phase)
	if m.DeletionTimestamp == nil {
		return ctrl.Result{}, nil
	}
	if wait := m.DeletionTimestamp.Add(r.Policy.Abandon).Sub(r.Clock.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	r.Recorder.Eventf(m, nil, corev1.EventTypeWarning, migration.ReasonAbandoned, "Migrate",
		"deleted in the phase %q, which no manager knows: what it has made is left behind", m.Status.Phase)
	return settled(r.letGo(ctx, m))
}

// letGo removes the finalizer of a migration that has left nothing behind, so
// that it can be deleted even when no manager runs any more.
func (r *Reconciler) letGo(ctx context.Context, m *v1alpha1.StatefulMigration) error {
	if !controllerutil.RemoveFinalizer(m, v1alpha1.FinalizerMigration) {
		return nil
	}
	return client.IgnoreNotFound(r.Client.Update(ctx, m))
}

// close gives back what a session holds. What instances have said is forgotten
// with it: the next migration of a pod is to hear it anew.
func (r *Reconciler) close(s *session) {
	if s == nil || s.broker == nil {
		return
	}
	for _, pod := range s.alone {
		s.broker.Forget(pod)
	}
	r.Brokers.Release(s.broker)
	s.broker = nil
}

// settled turns an error of the API into a result. A conflict means that the
// object has changed: it is no failure, and the change has queued it already.
func settled(err error) (ctrl.Result, error) {
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, err
}
