package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// ms2m runs `kubectl ms2m` as a user does, and returns what it said and its exit code.
func ms2m(ctx context.Context, t *testing.T, args ...string) (string, int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), "kubectl-ms2m"), append([]string{"-n", "e2e"}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("$ kubectl ms2m %s\n%s(%d)", strings.Join(args, " "), out, cmd.ProcessState.ExitCode())
	return string(out), cmd.ProcessState.ExitCode()
}

func said(t *testing.T, out string, code, want int, texts ...string) {
	t.Helper()
	if code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q", text)
		}
	}
}

// annotate makes a counter's pod say what its migration needs.
func annotate(ctx context.Context, t *testing.T, flow *harness.Flow, queue string) {
	t.Helper()
	pod := &corev1.Pod{}
	if err := lab.Client.Get(ctx, client.ObjectKeyFromObject(flow.Pod), pod); err != nil {
		t.Fatal(err)
	}
	before := pod.DeepCopy()
	pod.Annotations = map[string]string{
		v1alpha1.AnnotationQueueName: queue, v1alpha1.AnnotationBrokerURLSecret: harness.BrokerSecret,
		v1alpha1.AnnotationRepository: lab.Registry + "/checkpoints/e2e",
	}
	if err := lab.Client.Patch(ctx, pod, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// TestCommandLine empties a node by `kubectl ms2m evacuate`: two counters under load
// leave it, one that says the wrong queue can't, and stays as it is; then one of the two
// comes back by `migrate --wait`. Nothing is lost on any way.
func TestCommandLine(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	flows := make([]*harness.Flow, 3)
	for i, name := range []string{"cli-one", "cli-two", "cli-stays"} {
		flows[i] = startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: name}})
		queue := flows[i].Queue
		if name == "cli-stays" {
			queue = "another"
		}
		annotate(ctx, t, flows[i], queue)
		if err := flows[i].Counted(ctx, 100); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		node := &corev1.Node{}
		if err := lab.Client.Get(ctx, client.ObjectKey{Name: harness.NodeA}, node); err != nil {
			t.Error(err)
			return
		}
		before := node.DeepCopy()
		node.Spec.Unschedulable = false
		if err := lab.Client.Patch(ctx, node, client.MergeFrom(before)); err != nil {
			t.Error(err)
		}
	})

	out, code := ms2m(ctx, t, "preflight", "cli-one")
	said(t, out, code, 0, "NodeCompatibility", "can be moved from node-a (Shadow)")
	out, code = ms2m(ctx, t, "evacuate", harness.NodeA, "--uncordon-on-failure")
	said(t, out, code, 1, "node/node-a cordoned", "cli-stays", "QueueNotFound", "none was moved", "node/node-a uncordoned")
	out, code = ms2m(ctx, t, "evacuate", harness.NodeA, "--continue-on-error")
	said(t, out, code, 1, "cli-one", "Completed", "Remaining:", "e2e/cli-stays: QueueNotFound", "2 of 3 pods have left node-a")
	moved := map[string]*v1alpha1.StatefulMigration{}
	list := &v1alpha1.StatefulMigrationList{}
	if err := lab.Client.List(ctx, list, client.InNamespace("e2e")); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		m := &list.Items[i]
		moved[m.Spec.SourcePod.Name] = m
		t.Cleanup(func() { deleteMigration(t, m) })
	}
	if len(moved) != 2 || moved["cli-one"] == nil || moved["cli-two"] == nil {
		t.Fatalf("%d migrations, want one of cli-one and one of cli-two", len(moved))
	}
	pods := []*corev1.Pod{targetOf(ctx, t, moved["cli-one"]), targetOf(ctx, t, moved["cli-two"]), flows[2].Pod}
	for _, pod := range pods[:2] {
		if pod.Spec.NodeName == harness.NodeA {
			t.Errorf("the pod %s is on the node that was emptied", pod.Name)
		}
	}

	out, code = ms2m(ctx, t, "migrate", pods[0].Name, "--to", harness.NodeA)
	said(t, out, code, 1, "the node node-a is cordoned", "kubectl uncordon node-a")
	out, code = ms2m(ctx, t, "migrate", pods[0].Name, "--name", "cli-again", "--wait")
	said(t, out, code, 0, "Replaying", "Completed", "pauses ")
	again := &v1alpha1.StatefulMigration{}
	again.Namespace, again.Name = "e2e", "cli-again"
	t.Cleanup(func() { deleteMigration(t, again) })
	if err := lab.Client.Get(ctx, client.ObjectKeyFromObject(again), again); err != nil {
		t.Fatal(err)
	}
	pods[0] = targetOf(ctx, t, again)
	page := filepath.Join(t.TempDir(), "report.html")
	out, code = ms2m(ctx, t, "report", "cli-again", "-o", page)
	said(t, out, code, 0, page)
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "Hand-over pause") {
		t.Errorf("the report: %v", err)
	}
	out, code = ms2m(ctx, t, "status", "cli-again")
	said(t, out, code, 0, "Phases:", "Events:", "CRIU")
	out, code = ms2m(ctx, t, "version")
	said(t, out, code, 0, "client:", "manager:")

	for i, flow := range flows {
		if err := flow.Counted(ctx, flow.Collector.Count()+50); err != nil {
			t.Fatal(err)
		}
		outcome, err := flow.Finish(ctx, pods[i])
		if err != nil {
			t.Fatal(err)
		}
		judged(t, outcome)
	}
}

func targetOf(ctx context.Context, t *testing.T, m *v1alpha1.StatefulMigration) *corev1.Pod {
	t.Helper()
	pod, err := lab.TargetPod(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	return pod
}
