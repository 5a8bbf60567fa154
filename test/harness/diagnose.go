package harness

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Diagnose tells what can be seen of a counter that did not behave: its pods with
// their logs, its queues, and the last words of the manager.
func (l *Lab) Diagnose(ctx context.Context, c *Counter) string {
	var b strings.Builder
	look := func(title, text string, err error) {
		fmt.Fprintf(&b, "--- %s\n%s", title, text)
		if err != nil {
			fmt.Fprintf(&b, "(%v)\n", err)
		}
	}
	kubectl := func(args ...string) {
		text, err := output(ctx, nil, "kubectl", args...)
		look("kubectl "+strings.Join(args, " "), text, err)
	}
	kubectl("-n", c.Namespace, "get", "statefulmigrations,checkpointtransfers,pods", "-o", "wide")
	if c.workload != nil {
		kubectl("-n", c.Namespace, "get", "statefulsets,replicasets,deployments,poddisruptionbudgets", "-o", "wide")
		events, err := output(ctx, nil, "kubectl", "-n", c.Namespace, "get", "events", "--sort-by=.metadata.creationTimestamp")
		lines := strings.SplitAfter(events, "\n")
		look("the last events", strings.Join(lines[max(0, len(lines)-40):], ""), err)
	}
	kubectl("-n", c.Namespace, "describe", "statefulmigrations")
	pods, err := c.diagnosed(ctx)
	if err != nil {
		look("pods", "", err)
	}
	for i := range pods {
		state, err := l.State(ctx, &pods[i])
		look("state of "+pods[i].Name, fmt.Sprintf("%+v\n", state), err)
		kubectl("-n", c.Namespace, "logs", pods[i].Name, "--tail=40")
	}
	queues, err := l.Exec(ctx, "ctl", "rabbitmqctl", "-q", "list_queues", "name", "type", "messages_ready", "messages_unacknowledged", "consumers")
	look("queues", queues, err)
	kubectl("-n", SystemNamespace, "logs", "deployment/ms2m-manager", "--tail=40")
	return b.String()
}

// diagnosed are the pods to look at: all of a workload.
func (c *Counter) diagnosed(ctx context.Context) ([]corev1.Pod, error) {
	if c.workload != nil {
		return c.workload.AllPods(ctx)
	}
	return c.Pods(ctx)
}
