package harness

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Expose makes a Service of the counter's name before its pods, the original and its
// copies, and returns its base URL. Deleting it is the caller's.
func (c *Counter) Expose(ctx context.Context) (*corev1.Service, string, error) {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
		Spec: corev1.ServiceSpec{
			Selector: counterLabels(c.Name),
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	if err := c.lab.Client.Create(ctx, s); err != nil {
		return nil, "", err
	}
	base, err := c.lab.ClusterIP(ctx, client.ObjectKeyFromObject(s))
	return s, base, err
}
