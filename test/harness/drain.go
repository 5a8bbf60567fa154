package harness

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Drainable has evictions of the counter turned into migrations, by what its pod says.
func (c *Counter) Drainable(ctx context.Context) error {
	pod := &corev1.Pod{}
	if err := c.lab.Client.Get(ctx, client.ObjectKeyFromObject(c.Pod), pod); err != nil {
		return err
	}
	before := pod.DeepCopy()
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[v1alpha1.AnnotationDrain] = string(v1alpha1.DrainMigrate)
	pod.Annotations[v1alpha1.AnnotationQueueName] = c.Queue
	pod.Annotations[v1alpha1.AnnotationBrokerURLSecret] = BrokerSecret
	pod.Annotations[v1alpha1.AnnotationRepository] = c.lab.Registry + "/checkpoints/" + c.Namespace
	return c.lab.Client.Patch(ctx, pod, client.MergeFrom(before))
}

// Drain has kubectl drain the counter's node of pods with a label and no others, and lets
// the node be used again. It returns what kubectl says.
func (c *Counter) Drain(ctx context.Context, label string) (said string, err error) {
	defer func() {
		_, undo := output(context.WithoutCancel(ctx), nil, "kubectl", "uncordon", c.Pod.Spec.NodeName)
		err = errors.Join(err, undo)
	}()
	return output(ctx, nil, "kubectl", "drain", c.Pod.Spec.NodeName, "--force", "--ignore-daemonsets",
		"--pod-selector", label, "--timeout", "2m")
}
