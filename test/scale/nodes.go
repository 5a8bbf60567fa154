package main

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"ms2m.dev/ms2m/api/v1alpha1"
)

const (
	labelName       = "app.kubernetes.io/name"
	annotationQueue = "scale.ms2m.dev/queue"
)

// nodes plays scheduler, kubelets and node agents.
type nodes struct {
	client client.Client
	plane  *plane
	woken  chan event.GenericEvent // pods whose process has come
	dumped chan event.GenericEvent // legs that wait for a dump
}

func (n *nodes) setUp(mgr ctrl.Manager) error {
	const room = 4096 // more than there are pods that move
	n.woken, n.dumped = make(chan event.GenericEvent, room), make(chan event.GenericEvent, room)
	with := controller.Options{MaxConcurrentReconciles: 4}
	if err := ctrl.NewControllerManagedBy(mgr).For(&corev1.Pod{}).WithOptions(with).
		WatchesRawSource(source.Channel(n.woken, &handler.EnqueueRequestForObject{})).
		Complete(reconcile.Func(n.pod)); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.CheckpointTransfer{}).WithOptions(with).
		WatchesRawSource(source.Channel(n.dumped, &handler.EnqueueRequestForObject{})).
		Complete(reconcile.Func(n.leg))
}

// newPod is a pod on a node.
func newPod(namespace, name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PodSpec{
			NodeName:                     node,
			AutomountServiceAccountToken: ptr.To(false),
			Containers:                   []corev1.Container{{Name: "main", Image: "counter"}},
		},
	}
}

// pod does for a pod what scheduler and kubelet do.
func (n *nodes) pod(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	err := n.client.Get(ctx, req.NamespacedName, pod)
	switch {
	case apierrors.IsNotFound(err) || err == nil && pod.Labels[labelName] == v1alpha1.AgentName:
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	case pod.DeletionTimestamp != nil:
		if err := n.plane.end(string(pod.UID)); err != nil {
			return ctrl.Result{}, err
		}
		return settled(n.client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID}))
	case pod.Spec.NodeName == "" && len(pod.Spec.SchedulingGates) > 0:
		return ctrl.Result{}, nil
	case pod.Spec.NodeName == "":
		return settled(n.client.SubResource("binding").Create(ctx, pod, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Target: corev1.ObjectReference{Kind: "Node", Name: schedule(pod)},
		}))
	}
	switch {
	case n.plane.there(string(pod.UID)):
	case pod.Annotations[v1alpha1.AnnotationMigration] != "":
		return ctrl.Result{}, nil // the shim waits for the checkpoint
	default:
		if err := n.plane.begin(pod); err != nil {
			return ctrl.Result{}, err
		}
	}
	ready := corev1.ConditionTrue
	for _, g := range pod.Spec.ReadinessGates {
		if !is(pod, g.ConditionType, corev1.ConditionTrue) {
			ready = corev1.ConditionFalse
		}
	}
	if pod.Status.Phase == corev1.PodRunning && is(pod, corev1.PodReady, ready) {
		return ctrl.Result{}, nil
	}
	running(pod, ready)
	return settled(n.client.Status().Update(ctx, pod))
}

// settled turns an error into a result. What has changed meanwhile comes again.
func settled(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

// schedule knows as much of affinity as the manager uses.
func schedule(pod *corev1.Pod) string {
	if host := pod.Spec.NodeSelector[corev1.LabelHostname]; host != "" {
		return host
	}
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return node(0)
	}
	for _, field := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields {
		if field.Operator == corev1.NodeSelectorOpIn {
			return field.Values[0]
		}
	}
	return node(0)
}

func is(pod *corev1.Pod, kind corev1.PodConditionType, want corev1.ConditionStatus) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind && c.Status == want })
}

// running gives a pod the status of one whose container runs.
func running(pod *corev1.Pod, ready corev1.ConditionStatus) {
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()})
}

// leg does for a leg what the node's agent does.
func (n *nodes) leg(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	t := &v1alpha1.CheckpointTransfer{}
	if err := n.client.Get(ctx, req.NamespacedName, t); err != nil {
		return settled(err)
	}
	if t.DeletionTimestamp != nil {
		n.plane.remove(t.Spec.Archive)
		if len(t.Finalizers) == 0 {
			return ctrl.Result{}, nil
		}
		t.Finalizers = nil
		return settled(n.client.Update(ctx, t))
	}
	if meta.IsStatusConditionTrue(t.Status.Conditions, v1alpha1.TransferComplete) {
		return ctrl.Result{}, nil
	}
	done := []string{v1alpha1.TransferComplete}
	switch t.Spec.Direction {
	case v1alpha1.TransferThaw:
		done = n.attend(t)
	case v1alpha1.TransferPush:
		digest := n.plane.push(t.Spec.Archive)
		t.Status.Image = &v1alpha1.CheckpointImage{Reference: t.Spec.Repository + "@" + digest, Digest: digest, SizeBytes: 4096, ArchiveBytes: 5000}
	case v1alpha1.TransferStage:
		_, digest, _ := strings.Cut(t.Spec.Image, "@")
		if err := n.plane.restore(t.Spec.PodName, string(t.Spec.PodUID), digest); err != nil {
			return ctrl.Result{}, err
		}
		n.woken <- event.GenericEvent{Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.Spec.PodName}}}
	case v1alpha1.TransferSweep:
		n.plane.sweep(t.Spec.PodName)
	}
	changed := false
	for _, kind := range done {
		changed = meta.SetStatusCondition(&t.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.TransferReasonDone}) || changed
	}
	if !changed {
		return ctrl.Result{}, nil
	}
	return settled(n.client.Status().Update(ctx, t))
}

// attend watches over a checkpoint: what a Thaw says before the dump, and after.
func (n *nodes) attend(t *v1alpha1.CheckpointTransfer) []string {
	p := n.plane
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.archives {
		if strings.HasPrefix(name, "checkpoint-"+t.Spec.PodName+"_") {
			delete(p.dumped, t.Spec.PodName)
			return []string{v1alpha1.TransferReady, v1alpha1.TransferFrozen, v1alpha1.TransferComplete}
		}
	}
	p.dumped[t.Spec.PodName] = func() { n.dumped <- event.GenericEvent{Object: t} }
	return []string{v1alpha1.TransferReady}
}
