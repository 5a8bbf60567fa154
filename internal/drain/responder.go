package drain

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	lifecyclev1alpha1 "k8s.io/api/lifecycle/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// +kubebuilder:rbac:groups=lifecycle.k8s.io,resources=evictions,verbs=get;list;watch
// +kubebuilder:rbac:groups=lifecycle.k8s.io,resources=evictions/status,verbs=update

// heartbeat is how often the responder says that it is at work: the API asks for no more
// than every 20 seconds, and gives one up that is silent for 20 minutes.
const heartbeat = 30 * time.Second

// Responder answers Evictions of the EvictionRequest API (Kubernetes 1.37, alpha)
// whose pods name it in spec.evictionResponders.
type Responder struct{ *Drainer }

// Served reports whether a cluster has the API.
func Served(mapper meta.RESTMapper) (bool, error) {
	gvk := lifecyclev1alpha1.SchemeGroupVersion.WithKind("Eviction")
	_, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}

// SetupWithManager registers the responder and what wakes it.
func (r *Responder) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("eviction").
		For(&lifecyclev1alpha1.Eviction{}).
		Watches(&v1alpha1.StatefulMigration{}, handler.EnqueueRequestsFromMapFunc(r.evictionsOf)).
		Complete(r)
}

// evictionsOf are the Evictions of the pod that a migration was asked for.
func (r *Responder) evictionsOf(ctx context.Context, m client.Object) []reconcile.Request {
	uid := m.GetLabels()[v1alpha1.LabelDrain]
	if uid == "" {
		return nil
	}
	var list lifecyclev1alpha1.EvictionList
	if err := r.Client.List(ctx, &list, client.InNamespace(m.GetNamespace())); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if pod := list.Items[i].Spec.Target.Pod; pod != nil && string(pod.UID) == uid {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile does what is to be done for one Eviction.
func (r *Responder) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var e lifecyclev1alpha1.Eviction
	if err := r.Client.Get(ctx, req.NamespacedName, &e); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	i := slices.IndexFunc(e.Status.TargetResponders, func(t lifecyclev1alpha1.TargetResponder) bool { return t.Name == v1alpha1.Responder })
	if i < 0 || e.Spec.Target.Pod == nil {
		return ctrl.Result{}, nil
	}
	switch e.Status.TargetResponders[i].State {
	case lifecyclev1alpha1.ResponderStateActive:
		return r.respond(ctx, &e)
	case lifecyclev1alpha1.ResponderStateCanceled:
		n, err := r.Cancel(ctx, e.Namespace, e.Spec.Target.Pod.UID)
		if n > 0 {
			log.FromContext(ctx).Info("the eviction was withdrawn: migrations are cancelled", "pod", e.Spec.Target.Pod.Name, "migrations", n)
		}
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, nil
}

// respond has the pod migrated, and tells how far that is.
func (r *Responder) respond(ctx context.Context, e *lifecyclev1alpha1.Eviction) (ctrl.Result, error) {
	i := slices.IndexFunc(e.Status.Responders, func(s lifecyclev1alpha1.ResponderStatus) bool { return s.Name == v1alpha1.Responder })
	if i < 0 || e.Status.Responders[i].CompletionTime != nil || final(e) {
		return ctrl.Result{}, nil
	}
	target := e.Spec.Target.Pod
	var pod corev1.Pod
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: e.Namespace, Name: target.Name}, &pod)
	answer := Answer{Message: fmt.Sprintf("the pod %q of the UID %s is gone", target.Name, target.UID)}
	switch {
	case err == nil && pod.UID == target.UID && pod.DeletionTimestamp != nil:
		answer = Answer{Wait: true, Message: "the pod is going"}
	case err == nil && pod.UID == target.UID:
		// To name the responder in the pod is to ask for it, unless somebody says Evict.
		if answer, err = r.Ask(ctx, &pod, v1alpha1.DrainMigrate, false); err != nil {
			return ctrl.Result{}, err
		}
	case err != nil && !apierrors.IsNotFound(err):
		return ctrl.Result{}, err
	}
	return r.report(ctx, e, i, answer)
}

// report writes the responder's status: a heartbeat, or its end.
func (r *Responder) report(ctx context.Context, e *lifecyclev1alpha1.Eviction, i int, answer Answer) (ctrl.Result, error) {
	now := metav1.NewTime(r.Clock.Now().Truncate(time.Second))
	next := e.DeepCopy()
	s := &next.Status.Responders[i]
	if answer.Wait && s.HeartbeatTime != nil {
		if left := heartbeat - now.Sub(s.HeartbeatTime.Time); left > 0 {
			return ctrl.Result{RequeueAfter: left}, nil
		}
	}
	for _, before := range []*metav1.Time{s.StartTime, s.HeartbeatTime} {
		if before != nil && now.Before(before) {
			now = *before // set by another clock, and nothing may come before it
		}
	}
	message := answer.Message
	if runes := []rune(message); len(runes) > 1000 {
		message = string(runes[:1000])
	}
	s.HeartbeatTime, s.Message = &now, &message
	if !answer.Wait {
		s.CompletionTime = &now
	}
	switch err := r.Client.Status().Update(ctx, next); {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: time.Second}, nil
	case err != nil:
		return ctrl.Result{}, client.IgnoreNotFound(err)
	case answer.Wait:
		return ctrl.Result{RequeueAfter: heartbeat}, nil
	}
	return ctrl.Result{}, nil
}

// final reports whether the Eviction has ended.
func final(e *lifecyclev1alpha1.Eviction) bool {
	return meta.IsStatusConditionTrue(e.Status.Conditions, string(lifecyclev1alpha1.EvictionConditionTargetEvicted)) ||
		meta.IsStatusConditionTrue(e.Status.Conditions, string(lifecyclev1alpha1.EvictionConditionFailed))
}
