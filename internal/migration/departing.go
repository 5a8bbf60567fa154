package migration

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// departing waits for a pod that is being deleted, and takes its object away as soon
// as the kubelet says that all of its processes have ended. By itself the kubelet does
// so after its next look at the runtime, up to a second later (generic PLEG, every
// second). Of a pod with volumes that are attached or mounted from outside the kubelet
// has more to end than processes: it keeps its time.
func (p *planner) departing(pod *corev1.Pod, what string) Plan {
	if endedForGood(pod) && !slices.ContainsFunc(pod.Spec.Volumes, external) {
		none := int64(0)
		return p.act(DeletePod{Name: pod.Name, UID: pod.UID, Grace: &none})
	}
	return p.outlast(what)
}

// endedForGood reports whether no process of a pod runs, nor will again. The phase
// alone does not say so: that of an evicted pod is Failed before its processes end. Nor
// do the containers, of which one that has crashed may be started once more.
func endedForGood(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp == nil || pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed ||
		len(pod.Status.ContainerStatuses) != len(pod.Spec.Containers) ||
		len(pod.Status.InitContainerStatuses) != len(pod.Spec.InitContainers) ||
		len(pod.Status.EphemeralContainerStatuses) != len(pod.Spec.EphemeralContainers) {
		return false
	}
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
	return !slices.ContainsFunc(all, func(c corev1.ContainerStatus) bool { return c.State.Terminated == nil })
}

// external reports whether a volume is more than the node's own files.
func external(v corev1.Volume) bool {
	return v.EmptyDir == nil && v.ConfigMap == nil && v.Secret == nil && v.Projected == nil && v.DownwardAPI == nil && v.HostPath == nil
}
