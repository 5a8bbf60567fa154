package migration

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// unmovable says what of a pod's spec keeps it from being copied to another
// node, or nothing. Ports of the host do not: the other node has its own, and
// the scheduler knows them. Nor does the host name, which the copy keeps.
func unmovable(pod *corev1.Pod) string {
	s := &pod.Spec
	switch {
	case s.OS != nil && s.OS.Name != corev1.Linux:
		return fmt.Sprintf("spec.os of the pod is %s: only linux has checkpoints", s.OS.Name)
	case s.HostNetwork:
		return "spec.hostNetwork of the pod is set: its connections are the node's"
	case s.HostPID, s.HostIPC:
		return "spec.hostPID or spec.hostIPC of the pod is set: it shares processes with its node"
	case s.ShareProcessNamespace != nil && *s.ShareProcessNamespace:
		return "spec.shareProcessNamespace of the pod is set: a container's processes cannot be taken out of a namespace that it shares"
	case s.HostUsers != nil && !*s.HostUsers:
		return "spec.hostUsers of the pod is false: checkpoints of user namespaces are not supported"
	case s.RuntimeClassName != nil && *s.RuntimeClassName != "" && *s.RuntimeClassName != v1alpha1.RuntimeClassName:
		return fmt.Sprintf("spec.runtimeClassName of the pod is %q: only pods of the node's default runtime or of %q can be moved", *s.RuntimeClassName, v1alpha1.RuntimeClassName)
	case len(s.ResourceClaims) > 0:
		return "spec.resourceClaims of the pod: devices cannot be moved"
	case s.SchedulingGroup != nil:
		return "spec.schedulingGroup of the pod is set: it is scheduled with the others of its group, and a copy of one is not"
	}
	return ""
}

// MigratedContainer is the container that moves: the named one, or the only one.
func MigratedContainer(pod *corev1.Pod, named string) (container, refusal string) {
	var names []string
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	switch {
	case named == "" && len(names) == 1:
		return names[0], ""
	case named == "":
		return "", fmt.Sprintf("spec.container: the pod %q has %d containers (%s): name the one that is to move", pod.Name, len(names), strings.Join(names, ", "))
	case !slices.Contains(names, named):
		return "", fmt.Sprintf("spec.container: the pod %q has no container %q, it has %s", pod.Name, named, strings.Join(names, ", "))
	}
	return named, ""
}

// companions says why the containers beside the one that moves cannot be
// started afresh on the other node, or nothing: whether they hold state, only
// their author knows. Init containers that have ended are not among them.
func companions(pod *corev1.Pod, container string) string {
	var others []string
	for _, c := range pod.Spec.Containers {
		if c.Name != container {
			others = append(others, c.Name)
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if sidecar(&c) {
			others = append(others, c.Name)
		}
	}
	stateless := listed(pod, v1alpha1.AnnotationStatelessContainers)
	for _, name := range stateless {
		switch {
		case name == container:
			return fmt.Sprintf("the annotation %s of the pod names %q, which is the container that moves", v1alpha1.AnnotationStatelessContainers, name)
		case !slices.Contains(others, name):
			return fmt.Sprintf("the annotation %s of the pod names %q, which is neither a container nor a sidecar of it", v1alpha1.AnnotationStatelessContainers, name)
		}
	}
	missing := slices.DeleteFunc(others, func(name string) bool { return slices.Contains(stateless, name) })
	if len(missing) > 0 {
		return fmt.Sprintf("the pod has other containers (%s), whose memory does not move; if they may be started afresh, name them in the pod's annotation %s",
			strings.Join(missing, ", "), v1alpha1.AnnotationStatelessContainers)
	}
	return ""
}

// sidecar reports whether an init container runs as long as the pod.
func sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Shape says what of a pod keeps it from being the same on another node, or nothing.
func Shape(pod *corev1.Pod, container string) string {
	if why := unmovable(pod); why != "" {
		return why
	}
	return companions(pod, container)
}
