package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/sdk/handover"
)

// nodes plays scheduler, kubelets and node agents in a namespace until the
// context ends.
type nodes struct {
	*plane
	namespace string
}

func (n nodes) run(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// What fails because something changed meanwhile is tried at the next tick.
			n.pods(ctx)
			n.legs(ctx)
			n.mu.Lock()
			n.settle()
			n.mu.Unlock()
		}
	}
}

func (n nodes) pods(ctx context.Context) {
	var list corev1.PodList
	if seen.List(ctx, &list, client.InNamespace(n.namespace), client.UnsafeDisableDeepCopy) != nil {
		return
	}
	n.reap(list.Items)
	for i := range list.Items {
		switch pod := &list.Items[i]; {
		case pod.Labels[labelName] == v1alpha1.AgentName:
		case pod.DeletionTimestamp != nil:
			n.mu.Lock()
			delete(n.instances, string(pod.UID))
			n.mu.Unlock()
			_ = kube.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
		case pod.Spec.NodeName != "":
			n.kubelet(ctx, pod)
		default:
			_ = kube.SubResource("binding").Create(ctx, pod, &corev1.Binding{
				ObjectMeta: metav1.ObjectMeta{UID: pod.UID},
				Target:     corev1.ObjectReference{Kind: "Node", Name: schedule(pod)},
			})
		}
	}
}

// reap ends the processes of pods that are gone: one that is deleted while it is
// being bound goes without a moment in which it is seen to be deleted.
func (n nodes) reap(pods []corev1.Pod) {
	there := map[string]bool{}
	for i := range pods {
		there[string(pods[i].UID)] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.instances, func(uid string, _ *instancetest.Instance) bool { return !there[uid] })
}

// schedule knows as much of node selectors and affinity as the manager uses.
func schedule(pod *corev1.Pod) string {
	if host := pod.Spec.NodeSelector[corev1.LabelHostname]; host != "" {
		return host // the nodes' label is their name
	}
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil {
		return nodeA
	}
	field := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0]
	if field.Operator == corev1.NodeSelectorOpIn {
		return field.Values[0]
	}
	for _, name := range []string{nodeA, nodeB} {
		if !slices.Contains(field.Values, name) {
			return name
		}
	}
	return ""
}

// kubelet starts the container of a pod that is bound, and says when the pod is
// Ready. In a pod for a migration the shim waits until the checkpoint is staged.
func (n nodes) kubelet(ctx context.Context, pod *corev1.Pod) {
	n.mu.Lock()
	in := n.instances[string(pod.UID)]
	if in == nil && n.started[string(pod.UID)] == nil && pod.Annotations[v1alpha1.AnnotationMigration] == "" {
		n.begin(pod.DeepCopy())
		in = n.instances[string(pod.UID)]
	}
	n.mu.Unlock()
	ready := corev1.ConditionTrue
	for _, g := range pod.Spec.ReadinessGates {
		if conditionOf(pod, g.ConditionType) != corev1.ConditionTrue {
			ready = corev1.ConditionFalse
		}
	}
	if in == nil || pod.Status.Phase == corev1.PodRunning && conditionOf(pod, corev1.PodReady) == ready {
		return
	}
	pod = pod.DeepCopy()
	running(pod)
	pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
		Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now(),
	})
	// The gate that the manager opens meanwhile stays open: an old view is refused.
	_ = kube.Status().Update(ctx, pod)
}

func conditionOf(pod *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// running gives a pod the status of one whose containers run.
func running(pod *corev1.Pod) {
	pod.Status.Phase, pod.Status.ContainerStatuses = corev1.PodRunning, nil
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
}

func (n nodes) legs(ctx context.Context) {
	var list v1alpha1.CheckpointTransferList
	if seen.List(ctx, &list, client.InNamespace(n.namespace), client.UnsafeDisableDeepCopy) != nil {
		return
	}
	for i := range list.Items {
		t := list.Items[i].DeepCopy()
		switch {
		case t.DeletionTimestamp != nil:
			n.mu.Lock()
			delete(n.archives, t.Spec.Archive)
			delete(n.files, file(t))
			n.mu.Unlock()
			t.Finalizers = nil
			_ = kube.Update(ctx, t)
		case meta.FindStatusCondition(t.Status.Conditions, v1alpha1.TransferComplete) == nil:
			n.do(ctx, t)
		}
	}
}

// do does one leg.
func (n nodes) do(ctx context.Context, t *v1alpha1.CheckpointTransfer) {
	c := metav1.Condition{Type: v1alpha1.TransferComplete, Status: metav1.ConditionTrue, Reason: v1alpha1.TransferReasonDone}
	n.mu.Lock()
	var o *outcome
	if f := n.transfer[string(t.Spec.Direction)]; f != nil {
		o = f()
	}
	switch {
	case o != nil && o.reason == "": // never
		n.mu.Unlock()
		return
	case o != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, o.reason, o.message
	case t.Spec.Direction == v1alpha1.TransferPush:
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(t.Spec.Archive)))
		ref := t.Spec.Repository + "@" + digest
		n.images[ref] = n.archives[t.Spec.Archive]
		t.Status.Image = &v1alpha1.CheckpointImage{Reference: ref, Digest: digest, SizeBytes: 4096, ArchiveBytes: 5000}
	case t.Spec.Direction == v1alpha1.TransferFetch:
		n.files[file(t)] = true
	case t.Spec.Direction == v1alpha1.TransferStage:
		n.files[file(t)] = true
		n.restore(ctx, t)
	case t.Spec.Direction == v1alpha1.TransferSweep:
		n.sweep(fmt.Sprintf("checkpoint-%s_%s-%s-", t.Spec.PodName, t.Namespace, t.Spec.Container))
	}
	n.mu.Unlock()
	meta.SetStatusCondition(&t.Status.Conditions, c)
	_ = kube.Status().Update(ctx, t)
}

// file is what a leg lays out on its node.
func file(t *v1alpha1.CheckpointTransfer) string { return "for " + t.Name }

// restore makes the copy of the checkpointed process that wakes in the target
// pod. The lock is held.
func (n nodes) restore(ctx context.Context, t *v1alpha1.CheckpointTransfer) {
	uid := string(t.Spec.PodUID)
	pod := &corev1.Pod{}
	if n.started[uid] != nil || seen.Get(ctx, client.ObjectKey{Namespace: t.Namespace, Name: t.Spec.PodName}, pod) != nil || string(pod.UID) != uid {
		return // laid out for nobody
	}
	in := n.images[t.Spec.Image]
	in.PodUID, in.State = uid, handover.Restored
	if n.wakes != nil {
		n.wakes(uid, &in)
	}
	n.started[uid], n.instances[uid] = pod, &in
}
