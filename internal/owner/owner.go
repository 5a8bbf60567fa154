// Package owner knows what owns a pod, and so who would make it again.
package owner

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Kind is a kind of owner whose ways are known.
type Kind string

// The kinds. A Deployment owns its pods through a ReplicaSet.
const (
	Standalone  Kind = "Standalone"
	ReplicaSet  Kind = "ReplicaSet"
	StatefulSet Kind = "StatefulSet"
)

// Of says which workload makes a pod again when it is gone, or why a pod of
// that owner cannot be moved. Only the controller counts: the other owners of a
// pod have a say in when it is removed, and none in whether it is made again.
func Of(pod *corev1.Pod) (ref *v1alpha1.WorkloadReference, kind Kind, refusal string) {
	refuse := func(message string, args ...any) (*v1alpha1.WorkloadReference, Kind, string) {
		return nil, "", fmt.Sprintf("the pod %q ", pod.Name) + fmt.Sprintf(message, args...)
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return refuse("is a static pod: its node's kubelet makes it from a file; move the file to another node")
	}
	c := metav1.GetControllerOf(pod)
	if c == nil {
		return nil, Standalone, ""
	}
	gv, err := schema.ParseGroupVersion(c.APIVersion)
	if err != nil {
		return refuse("belongs to the %s %q of the unreadable apiVersion %q", c.Kind, c.Name, c.APIVersion)
	}
	gvk := gv.WithKind(c.Kind)
	switch gvk {
	case appsv1.SchemeGroupVersion.WithKind(string(StatefulSet)):
		kind = StatefulSet
	case appsv1.SchemeGroupVersion.WithKind(string(ReplicaSet)):
		kind = ReplicaSet
	default:
		return refuse("belongs to the %s %q%s", c.Kind, c.Name, instead(gvk))
	}
	return &v1alpha1.WorkloadReference{APIVersion: c.APIVersion, Kind: c.Kind, Name: c.Name, UID: c.UID}, kind, ""
}

// instead says why pods of an owner are not moved, and what to do about it.
func instead(gvk schema.GroupVersionKind) string {
	switch gvk.GroupKind() {
	case schema.GroupKind{Group: batchv1.GroupName, Kind: "Job"}:
		return ": a Job counts its pods by their end, and would count the moved one as failed; let it end by itself"
	case schema.GroupKind{Group: appsv1.GroupName, Kind: "DaemonSet"}:
		return ": a DaemonSet has one pod on each node, and this one belongs to its node; use a StatefulSet or a Deployment for what is to move"
	case schema.GroupKind{Kind: "ReplicationController"}:
		return ": ReplicationControllers are superseded by Deployments, which can be moved"
	case schema.GroupKind{Kind: "Node"}:
		return ": it is part of its node"
	case schema.GroupKind{Group: appsv1.GroupName, Kind: string(StatefulSet)}, schema.GroupKind{Group: appsv1.GroupName, Kind: string(ReplicaSet)}:
		return fmt.Sprintf(" of %s; only %s is known", gvk.GroupVersion(), appsv1.SchemeGroupVersion)
	}
	return fmt.Sprintf(" of %s, of which is not known what it does when its pod is replaced; pods of a StatefulSet, a Deployment or a ReplicaSet of %s can be moved, and pods without a controller",
		gvk.GroupVersion(), appsv1.SchemeGroupVersion)
}
