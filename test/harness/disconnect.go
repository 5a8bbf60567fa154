package harness

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Disconnect resets the connections that the broker has with these addresses, or
// with everybody if none is given, as a network does that loses its state: no
// word of AMQP is said. It returns how many there were.
func (l *Lab) Disconnect(ctx context.Context, addresses ...string) (int, error) {
	filter := []string{"ss", "-K", "-H", "-t", "-n", "state", "established", "sport", "=", ":5672"}
	for i, a := range addresses {
		filter = append(filter, map[bool]string{true: "and (", false: "or"}[i == 0], "dst", a)
	}
	if len(addresses) > 0 {
		filter = append(filter, ")")
	}
	killed, err := l.Exec(ctx, "ctl", filter...)
	return strings.Count(killed, "\n"), err
}

// ManagerAddresses are the addresses of the manager's pods.
func (l *Lab) ManagerAddresses(ctx context.Context) ([]string, error) {
	pods := &corev1.PodList{}
	err := l.Client.List(ctx, pods, client.InNamespace(SystemNamespace), client.MatchingLabels{"app.kubernetes.io/name": "ms2m-manager"})
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, p := range pods.Items {
		if p.Status.PodIP != "" {
			addresses = append(addresses, p.Status.PodIP)
		}
	}
	if addresses == nil {
		return nil, fmt.Errorf("no pod of the manager has an address")
	}
	return addresses, nil
}
