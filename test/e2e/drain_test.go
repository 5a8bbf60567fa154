package e2e

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// TestDrain drains the node of a counter under load with kubectl, which knows nothing
// of MS2M: the pod is on another node when it has done, and has lost nothing.
func TestDrain(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "drain"}})
	if err := flow.Drainable(ctx); err != nil {
		t.Fatal(err)
	}
	if err := flow.Counted(ctx, 200); err != nil {
		t.Fatal(err)
	}
	said, err := flow.Drain(ctx)
	t.Log(said)
	if err != nil {
		t.Fatal(err)
	}
	m := &v1alpha1.StatefulMigration{}
	key := client.ObjectKey{Namespace: flow.Namespace, Name: "drain-" + string(flow.Pod.UID) + "-1"}
	if err := lab.Client.Get(ctx, key, m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteMigration(t, m) })
	if m, err = lab.Follow(ctx, m, harness.Ended); err != nil {
		t.Fatal(err)
	}
	if m.Status.Phase != v1alpha1.PhaseCompleted || m.Status.TargetNode == flow.Pod.Spec.NodeName {
		t.Fatalf("to %s: %s", m.Status.TargetNode, harness.Summary(m))
	}
	target, err := lab.TargetPod(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := flow.Counted(ctx, flow.Collector.Count()+100); err != nil {
		t.Fatal(err)
	}
	o, err := flow.Finish(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	judged(t, o)
	noTraces(ctx, t, flow, m, target)
}
