package harness

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Process is the process ID, on the pod's node, of the first container's first process.
func (l *Lab) Process(ctx context.Context, pod *corev1.Pod) (string, error) {
	if len(pod.Status.ContainerStatuses) == 0 {
		return "", fmt.Errorf("pod %s has no container yet", pod.Name)
	}
	id := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
	tasks, err := l.Exec(ctx, pod.Spec.NodeName, "ctr", "-n", "k8s.io", "tasks", "ls")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(tasks) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == id {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("no task %s on %s", id, pod.Spec.NodeName)
}

// Kill kills (SIGKILL) the first process of a pod's first container.
func (l *Lab) Kill(ctx context.Context, pod *corev1.Pod) error {
	pid, err := l.Process(ctx, pod)
	if err != nil {
		return err
	}
	_, err = l.Exec(ctx, pod.Spec.NodeName, "kill", "-9", pid)
	return err
}
