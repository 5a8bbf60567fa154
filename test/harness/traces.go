package harness

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Traces lists what migrations of a counter have left behind: transfers and pods
// beside keep (of a workload: those that it does not own), queues and exchanges at
// the broker, archives and staged files on the nodes. The control queue of a live counter is none, nor is the log of a
// restore, nor the mark by which the shim knows that it has restored keep already.
func (l *Lab) Traces(ctx context.Context, c *Counter, m *v1alpha1.StatefulMigration, keep *corev1.Pod) ([]string, error) {
	traces, stay, err := l.apiTraces(ctx, c, keep)
	if err != nil {
		return nil, err
	}
	mark := regexp.MustCompile("/restore/(" + strings.Join(stay, "|") + ")/[^/]+\\.used-[^/]+/restore\\.json ")
	keys := []string{
		string(m.UID), string(c.Pod.UID), c.Queue,
		"." + c.Namespace + "." + c.Pod.Name, // its slot
		fmt.Sprintf("checkpoint-%s_%s-%s-", c.Pod.Name, c.Namespace, CounterContainer),
	}
	if uid := m.Status.TargetPodUID; uid != "" {
		keys = append(keys, string(uid))
	}
	for _, h := range m.Status.Hops {
		keys = append(keys, string(h.SourcePodUID), "."+c.Namespace+"."+h.SourcePodName,
			fmt.Sprintf("checkpoint-%s_%s-%s-", h.SourcePodName, c.Namespace, CounterContainer))
	}
	for _, look := range []func(context.Context) ([]string, error){l.brokerObjects, l.nodeFiles} {
		names, err := look(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if containsAny(name, keys) && !mark.MatchString(name) {
				traces = append(traces, name)
			}
		}
	}
	return traces, nil
}

// apiTraces are the traces at the API server, and the UIDs of the pods that are
// none: keep, and of a workload those that it owns.
func (l *Lab) apiTraces(ctx context.Context, c *Counter, keep *corev1.Pod) (traces, stay []string, err error) {
	list := c.Pods
	if c.workload != nil {
		list = c.workload.AllPods
	}
	pods, err := list(ctx)
	if err != nil {
		return nil, nil, err
	}
	stay = []string{string(keep.UID)}
	for i, p := range pods {
		switch {
		case p.Name == keep.Name:
		case c.workload != nil && metav1.GetControllerOf(&pods[i]) != nil:
			stay = append(stay, string(p.UID))
		default:
			traces = append(traces, "pod "+p.Name)
		}
	}
	transfers := &v1alpha1.CheckpointTransferList{}
	if err := l.Client.List(ctx, transfers, client.InNamespace(c.Namespace)); err != nil {
		return nil, nil, err
	}
	for _, t := range transfers.Items {
		if t.Spec.PodName == c.Pod.Name || strings.HasPrefix(t.Spec.PodName, c.Pod.Name+"-") {
			traces = append(traces, "checkpointtransfer "+t.Name)
		}
	}
	return traces, stay, nil
}

// brokerObjects lists what is named after MS2M at the broker, but for the
// control queues, which are the instances' own.
func (l *Lab) brokerObjects(ctx context.Context) ([]string, error) {
	var names []string
	for kind, list := range map[string]string{"queue": "list_queues", "exchange": "list_exchanges"} {
		out, err := l.Exec(ctx, "ctl", "rabbitmqctl", "-q", "--no-table-headers", list, "name")
		if err != nil {
			return nil, err
		}
		for name := range strings.Lines(out) {
			name = strings.TrimSpace(name)
			if strings.HasPrefix(name, "ms2m.") && !strings.HasPrefix(name, "ms2m.control.") {
				names = append(names, kind+" "+name)
			}
		}
	}
	return names, nil
}

// nodeFiles lists the kubelets' checkpoints and the staged files.
func (l *Lab) nodeFiles(ctx context.Context) ([]string, error) {
	nodes := &corev1.NodeList{}
	if err := l.Client.List(ctx, nodes); err != nil {
		return nil, err
	}
	var names []string
	for _, n := range nodes.Items {
		out, err := l.Exec(ctx, n.Name, "sh", "-c",
			"for d in /var/lib/kubelet/checkpoints /var/lib/ms2m/restore; do test ! -d $d || find $d -type f -o -empty; done")
		if err != nil {
			return nil, err
		}
		for path := range strings.Lines(out) {
			names = append(names, fmt.Sprintf("%s on %s", strings.TrimSpace(path), n.Name))
		}
	}
	return names, nil
}

func containsAny(s string, keys []string) bool {
	for _, k := range keys {
		if k != "" && strings.Contains(s, k) {
			return true
		}
	}
	return false
}
