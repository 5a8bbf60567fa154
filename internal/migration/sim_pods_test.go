package migration_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// turnOwner lets the owner make and remove pods.
func (w *world) turnOwner() {
	switch w.kind {
	case owner.StatefulSet:
		if w.pods[counter] != nil {
			return
		}
		p := w.birth(counter, w.ownerReference())
		if place := w.object.Status.Placement; place != nil && !w.blind {
			p.Labels[v1alpha1.LabelMigration] = uid
			p.Annotations = map[string]string{v1alpha1.AnnotationMigration: uid, v1alpha1.AnnotationHandover: place.Handover}
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: handover.EnvMigration, Value: place.Handover}}
			if !place.OwnerOnly {
				p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: v1alpha1.ConditionLive}}
			}
			p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: place.Hostname}
		}
		w.blind = false
	case owner.ReplicaSet:
		var mine []*corev1.Pod
		for _, p := range w.pods {
			if metav1.GetControllerOf(p) != nil {
				mine = append(mine, p)
			}
		}
		if len(mine) == 0 {
			w.birth(fmt.Sprintf("counter-%d", w.born), w.ownerReference())
		}
		if len(mine) > 1 {
			victim := mine[0]
			for _, p := range mine {
				if cost(p) < cost(victim) || cost(p) == cost(victim) && p.UID > victim.UID {
					victim = p
				}
			}
			w.deletePod(victim)
		}
	}
}

func cost(p *corev1.Pod) int {
	switch p.Annotations[corev1.PodDeletionCost] {
	case migration.LeastCost:
		return -1
	case migration.MostCost:
		return 1
	}
	return 0
}

// settleNodes lets scheduler and kubelets do their part: pods are placed, what is
// not to be restored starts.
func (w *world) settleNodes() {
	for _, p := range w.pods {
		if p.Spec.NodeName != "" {
			continue
		}
		p.Spec.NodeName = "node-a"
		if p.Annotations[v1alpha1.AnnotationMigration] != "" {
			p.Spec.NodeName = "node-b"
			continue // the shim waits
		}
		w.runs(p)
		w.start(p)
	}
}

// runs is when a pod's container runs: the pod is Ready unless its gate keeps it from
// being so.
func (w *world) runs(p *corev1.Pod) {
	p.Status.Phase = corev1.PodRunning
	switch copied := p.Labels[v1alpha1.LabelMigration] != ""; {
	case len(p.Spec.ReadinessGates) == 0 && copied && !w.ownerOnly:
		w.violated("%s is Ready before it is live, and does not pass on", p.Name)
	case len(p.Spec.ReadinessGates) == 0:
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
}

// despair ends the wait of a shim: the kubelet starts the container again, later.
func (w *world) despair(p *corev1.Pod) {
	if p == nil || w.instances[p.UID] != nil || p.Labels[v1alpha1.LabelMigration] == "" {
		return
	}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "RunContainerError", Message: v1alpha1.MessageNotStaged},
	}}}
}

// lose ends a process: a fresh one starts in its pod, or the pod goes with it.
func (w *world) lose(p *corev1.Pod, whole bool) {
	if p == nil || w.instances[p.UID] == nil {
		return
	}
	w.crashed = true
	if whole {
		w.removePod(p)
		return
	}
	w.start(p)
}

// giveUp lets an instance lose its patience: it writes ABORT, and obeys.
func (w *world) giveUp(p *corev1.Pod) {
	if p == nil || w.instances[p.UID] == nil {
		return
	}
	in := w.instances[p.UID]
	switch in.State {
	case handover.Paused, handover.Relaying:
	case handover.Frozen:
		if in.Sequential {
			return // it wants COMMIT
		}
	case handover.Restored, handover.Replaying:
		in.GiveUp(handover.ReasonDeadline)
	default:
		return
	}
	before := in.State
	in.Obey(w.write(in.Migration, handover.Aborted))
	w.moved(p, in, before)
}
