package e2e

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// TestDrain drains the node of a counter under load with kubectl, which knows nothing
// of MS2M: the pod is on another node when it has done, and has lost nothing. A
// StatefulSet's pod is there again under the name by which kubectl goes on asking.
func TestDrain(t *testing.T) {
	t.Run("standalone", func(t *testing.T) {
		ctx := within(t, 4*time.Minute)
		flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "drain"}})
		assertDrained(ctx, t, flow, "app.kubernetes.io/instance=drain")
	})
	t.Run("StatefulSet", func(t *testing.T) {
		ctx := within(t, 4*time.Minute)
		set := startStateful(ctx, t, harness.WorkloadConfig{Name: "drain-set", Replicas: 1})
		flow := set.Ordinals[0]
		// What the template does not say the policy does, also for the pod that is made again.
		policy := &v1alpha1.MigrationPolicy{ObjectMeta: metav1.ObjectMeta{Name: "drain-set"}}
		policy.Spec.Selectors.PodSelector = map[string]string{appsv1.StatefulSetPodNameLabel: flow.Pod.Name}
		policy.Spec.Drain = v1alpha1.DrainMigrate
		if err := lab.Client.Create(ctx, policy); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := lab.Client.Delete(context.WithoutCancel(ctx), policy); err != nil {
				t.Error(err)
			}
		})
		m := assertDrained(ctx, t, flow, appsv1.StatefulSetPodNameLabel+"="+flow.Pod.Name)
		if s := m.Status; s.TargetPodName != flow.Pod.Name || s.Policy == nil || s.Policy.Name != policy.Name {
			t.Errorf("the pod %s under %+v", s.TargetPodName, s.Policy)
		}
	})
}

func assertDrained(ctx context.Context, t *testing.T, flow *harness.Flow, label string) *v1alpha1.StatefulMigration {
	t.Helper()
	if err := flow.Drainable(ctx); err != nil {
		t.Fatal(err)
	}
	if err := flow.Counted(ctx, 200); err != nil {
		t.Fatal(err)
	}
	said, err := flow.Drain(ctx, label)
	t.Log(said)
	if err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.StatefulMigrationList
	if err := lab.Client.List(ctx, &list, client.InNamespace(flow.Namespace), client.HasLabels{v1alpha1.LabelDrain}); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		t.Cleanup(func() { deleteMigration(t, &list.Items[i]) })
	}
	if len(list.Items) != 1 || list.Items[0].Name != "drain-"+string(flow.Pod.UID)+"-1" {
		t.Fatalf("%d migrations were asked for, want one of %s", len(list.Items), flow.Pod.UID)
	}
	m, err := lab.Follow(ctx, &list.Items[0], harness.Ended)
	if err != nil {
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
	return m
}
