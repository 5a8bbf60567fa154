package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// metricsPort is where the manager serves its metrics.
const metricsPort = 8080

// sample is what there was of everything after a move.
type sample struct {
	move  int
	names []string
	value map[string]int64
	// process tells of a name whose process was measured, so that two are only
	// compared if they are of one.
	process map[string]string
}

func (s *sample) add(name string, value int64, process string) {
	s.names = append(s.names, name)
	s.value[name], s.process[name] = value, process
}

// leaks are the samples of a soak.
type leaks struct{ samples []sample }

// measure takes a sample.
func (l *leaks) measure(ctx context.Context, s *soak, move int) error {
	now := sample{move: move, value: make(map[string]int64), process: make(map[string]string)}
	for _, look := range []func(context.Context, *soak, *sample) error{
		counterGrowth, managerGrowth, agentGrowth, brokerGrowth, apiGrowth, nodeGrowth, registryGrowth,
	} {
		if err := look(ctx, s, &now); err != nil {
			return err
		}
	}
	l.samples = append(l.samples, now)
	return nil
}

func counterGrowth(ctx context.Context, s *soak, now *sample) error {
	state, err := s.lab.State(ctx, s.pod)
	if err != nil {
		return err
	}
	now.add("counter: goroutines", int64(state.Goroutines), state.Mark)
	return s.process(ctx, now, "counter", s.pod, state.Mark)
}

func managerGrowth(ctx context.Context, s *soak, now *sample) error {
	pod, err := s.lab.ManagerPod(ctx)
	if err != nil {
		return err
	}
	goroutines, err := gauge(ctx, fmt.Sprintf("http://%s:%d/metrics", pod.Status.PodIP, metricsPort), "go_goroutines")
	if err != nil {
		return err
	}
	now.add("manager: goroutines", goroutines, string(pod.UID))
	return s.process(ctx, now, "manager", pod, string(pod.UID))
}

func agentGrowth(ctx context.Context, s *soak, now *sample) error {
	agents, err := s.lab.AgentPods(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(agents, func(a, b corev1.Pod) int { return strings.Compare(a.Spec.NodeName, b.Spec.NodeName) })
	for i, a := range agents {
		if err := s.process(ctx, now, "agent on "+a.Spec.NodeName, &agents[i], string(a.UID)); err != nil {
			return err
		}
	}
	return nil
}

// process measures the process in a pod.
func (s *soak) process(ctx context.Context, now *sample, name string, pod *corev1.Pod, identity string) error {
	pid, err := s.lab.Process(ctx, pod)
	if err != nil {
		return err
	}
	n, err := s.numbers(ctx, pod.Spec.NodeName, fmt.Sprintf(
		"ls /proc/%[1]s/fd | wc -l; awk '/^VmRSS/ {print $2}' /proc/%[1]s/status", pid), 2)
	if err != nil {
		return err
	}
	now.add(name+": file descriptors", n[0], identity)
	now.add(name+": memory, KiB", n[1], identity)
	return nil
}

func brokerGrowth(ctx context.Context, s *soak, now *sample) error {
	n, err := s.numbers(ctx, "ctl", `for what in queues exchanges connections; do
		rabbitmqctl -q --no-table-headers list_$what name | wc -l
	done`, 3)
	if err != nil {
		return err
	}
	for i, what := range []string{"queues", "exchanges", "connections"} {
		now.add("broker: "+what, n[i], "")
	}
	return nil
}

func apiGrowth(ctx context.Context, s *soak, now *sample) error {
	transfers, migrations, pods := &v1alpha1.CheckpointTransferList{}, &v1alpha1.StatefulMigrationList{}, &corev1.PodList{}
	for _, list := range []client.ObjectList{transfers, migrations, pods} {
		if err := s.lab.Client.List(ctx, list, client.InNamespace(s.flow.Namespace)); err != nil {
			return err
		}
	}
	now.add("API: transfers", int64(len(transfers.Items)), "")
	now.add("API: migrations", int64(len(migrations.Items)), "")
	now.add("API: pods", int64(len(pods.Items)), "")
	return nil
}

func nodeGrowth(ctx context.Context, s *soak, now *sample) error {
	for _, node := range []string{harness.NodeA, harness.NodeB} {
		n, err := s.numbers(ctx, node, `find /var/lib/kubelet/checkpoints -type f 2>/dev/null | wc -l
			find /var/lib/ms2m/restore -type f -not -path '*.used-*' 2>/dev/null | wc -l
			ls /var/lib/kubelet/pods | wc -l
			ctr -n k8s.io containers ls -q | wc -l
			ctr -n k8s.io snapshots ls | tail -n +2 | wc -l
			ls /var/run/netns | wc -l`, 6)
		if err != nil {
			return err
		}
		for i, what := range []string{"archives", "staged files", "pod directories", "containers", "snapshots", "network namespaces"} {
			now.add(node+": "+what, n[i], "")
		}
	}
	return nil
}

func registryGrowth(ctx context.Context, s *soak, now *sample) error {
	n, err := s.numbers(ctx, "ctl", `find /var/lib/docker-registry -path '*/checkpoints/*/_manifests/revisions/*' -name link | wc -l
		du -sk /var/lib/docker-registry | cut -f1`, 2)
	if err != nil {
		return err
	}
	now.add("registry: checkpoints", n[0], "")
	now.add("registry: disk, KiB", n[1], "")
	return nil
}

// numbers are those that a script prints on a machine, one a line.
func (s *soak) numbers(ctx context.Context, machine, script string, want int) ([]int64, error) {
	out, err := s.lab.Exec(ctx, machine, "sh", "-c", script)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(out)
	if len(fields) != want {
		return nil, fmt.Errorf("%d numbers from %q, want %d", len(fields), script, want)
	}
	numbers := make([]int64, want)
	for i, f := range fields {
		if numbers[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return nil, err
		}
	}
	return numbers, nil
}

// gauge reads a gauge without labels from an endpoint of metrics.
func gauge(ctx context.Context, url, name string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return 0, err
	}
	f, ok := families[name]
	if !ok || f.GetType() != dto.MetricType_GAUGE || len(f.GetMetric()) != 1 {
		return 0, fmt.Errorf("%s has no gauge %s", url, name)
	}
	return int64(f.GetMetric()[0].GetGauge().GetValue()), nil
}
