package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
		}
	}
}

func (n nodes) pods(ctx context.Context) {
	var list corev1.PodList
	if kube.List(ctx, &list, client.InNamespace(n.namespace)) != nil {
		return
	}
	for i := range list.Items {
		switch pod := &list.Items[i]; {
		case pod.DeletionTimestamp != nil:
			n.mu.Lock()
			delete(n.instances, string(pod.UID))
			n.mu.Unlock()
			_ = kube.Delete(ctx, pod, client.GracePeriodSeconds(0))
		case pod.Spec.NodeName == "":
			if node := n.schedule(pod); node != "" {
				_ = kube.SubResource("binding").Create(ctx, pod, &corev1.Binding{
					Target: corev1.ObjectReference{Kind: "Node", Name: node},
				})
			}
		}
	}
}

// schedule knows as much of node affinity as the manager uses.
func (n nodes) schedule(pod *corev1.Pod) string {
	affinity := pod.Spec.Affinity
	if affinity == nil {
		return ""
	}
	field := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0]
	for _, name := range []string{nodeA, nodeB} {
		if slices.Contains(field.Values, name) == (field.Operator == corev1.NodeSelectorOpIn) {
			return name
		}
	}
	return ""
}

func (n nodes) legs(ctx context.Context) {
	var list v1alpha1.CheckpointTransferList
	if kube.List(ctx, &list, client.InNamespace(n.namespace)) != nil {
		return
	}
	for i := range list.Items {
		t := &list.Items[i]
		switch {
		case t.DeletionTimestamp != nil:
			n.mu.Lock()
			delete(n.archives, t.Spec.Archive)
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
	if f := n.transfer[string(t.Spec.Direction)]; f != nil {
		o := f()
		if o.reason == "" { // never
			n.mu.Unlock()
			return
		}
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, o.reason, o.message
	} else {
		switch t.Spec.Direction {
		case v1alpha1.TransferPush:
			digest := "sha256:" + strings.Repeat(fmt.Sprintf("%x", t.Spec.Attempt), 64)[:64]
			ref := t.Spec.Repository + "@" + digest
			n.images[ref] = true
			t.Status.Image = &v1alpha1.CheckpointImage{Reference: ref, Digest: digest, SizeBytes: 4096, ArchiveBytes: 5000}
		case v1alpha1.TransferStage:
			n.restore(t)
		}
	}
	n.mu.Unlock()
	if t.Spec.Direction == v1alpha1.TransferSweep {
		n.sweep(fmt.Sprintf("checkpoint-%s_%s-%s-", t.Spec.PodName, t.Namespace, t.Spec.Container))
	}
	meta.SetStatusCondition(&t.Status.Conditions, c)
	_ = kube.Status().Update(ctx, t)
}

// restore makes the instance that wakes in the target pod. The lock is held.
func (n nodes) restore(t *v1alpha1.CheckpointTransfer) {
	pod := string(t.Spec.PodUID)
	if n.instances[pod] != nil {
		return
	}
	in := &instancetest.Instance{Status: handover.Status{
		PodUID: pod, State: handover.Restored, Migration: string(t.Spec.MigrationUID),
		Attempt: int(t.Spec.Attempt), Queue: queue, Identity: handover.IdentityMessageID,
	}}
	if n.wakes != nil {
		n.wakes(pod, in)
	}
	n.instances[pod] = in
}
