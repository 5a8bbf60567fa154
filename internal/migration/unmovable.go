package migration

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// unmovable says what of a pod's spec keeps it from being copied to another
// node, or nothing.
func unmovable(pod *corev1.Pod) string {
	s := pod.Spec
	switch {
	case s.HostNetwork:
		return "spec.hostNetwork of the pod is set: its connections are the node's"
	case s.HostPID, s.HostIPC:
		return "spec.hostPID or spec.hostIPC of the pod is set: it shares processes with its node"
	case len(s.ResourceClaims) > 0:
		return "spec.resourceClaims of the pod: devices cannot be moved"
	}
	for _, c := range s.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			return fmt.Sprintf("the sidecar %q in spec.initContainers of the pod: only pods with one container can be moved", c.Name)
		}
	}
	for _, v := range s.Volumes {
		if kind := unshared(v.VolumeSource); kind != "" {
			return fmt.Sprintf("the volume %q of the pod is of the kind %s, whose contents do not move with the pod", v.Name, kind)
		}
	}
	return ""
}

// unshared names the kind of a volume that is not the same on every node.
func unshared(v corev1.VolumeSource) string {
	switch {
	case v.ConfigMap != nil, v.Secret != nil, v.DownwardAPI != nil, v.Projected != nil, v.NFS != nil, v.Image != nil:
		return ""
	case v.HostPath != nil:
		return "hostPath"
	case v.EmptyDir != nil:
		return "emptyDir"
	case v.PersistentVolumeClaim != nil:
		return "persistentVolumeClaim"
	}
	return "other than configMap, secret, downwardAPI, projected, nfs or image"
}
