// Package owner knows what owns a pod, and so who would make it again.
package owner

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Refusal says why a pod of this owner cannot be migrated, or nothing: a
// standalone pod is moved by making another one and deleting the first, which
// an owner would undo.
func Refusal(pod *corev1.Pod) string {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return fmt.Sprintf("the pod %q is a static pod of its node", pod.Name)
	}
	if ref := metav1.GetControllerOf(pod); ref != nil {
		return fmt.Sprintf("the pod %q belongs to the %s %q; only standalone pods can be moved", pod.Name, ref.Kind, ref.Name)
	}
	return ""
}
