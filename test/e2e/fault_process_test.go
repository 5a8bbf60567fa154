package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// decided reports whether COMMIT is known to stand.
func decided(m *v1alpha1.StatefulMigration) bool {
	return harness.Condition(m, v1alpha1.ConditionCommitted) == metav1.ConditionTrue
}

// TestFaultProcess ends, evicts or replaces a party. Killed by the kernel before
// COMMIT they are in TestKilled.
func TestFaultProcess(t *testing.T) {
	t.Run("target killed after the commit", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.until(decided)
		pod := podOf(tr.ctx, t, tr.flow, tr.m, target)
		if err := lab.Kill(tr.ctx, pod); err != nil {
			t.Fatal(err)
		}
		tr.completes()
		pod = restarted(tr.ctx, t, pod)
		state, err := lab.State(tr.ctx, pod)
		if err != nil {
			t.Fatal(err)
		}
		if state.Mark == tr.flow.Begin.Mark {
			t.Error("the killed memory is back")
		}
		tr.counts(100)
		noTraces(tr.ctx, t, tr.flow, tr.m, pod)
	})
	t.Run("source evicted", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		if err := lab.Evict(tr.ctx, tr.flow.Pod); err != nil {
			t.Fatal(err)
		}
		tr.completes()
		tr.targetServes()
	})
	t.Run("manager upgraded", func(t *testing.T) {
		tr := begin(t, func(c *harness.FlowConfig) { c.Work = 8 * time.Millisecond }) // a replay that outlasts the rollout
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		before, err := lab.ManagerPod(tr.ctx)
		if err != nil {
			t.Fatal(err)
		}
		setManager(tr.ctx, t, 1, "--v=1")
		after, err := lab.ManagerPod(tr.ctx)
		if err != nil {
			t.Fatal(err)
		}
		tr.completes()
		if before.UID == after.UID || tr.m.Status.Epoch < 2 {
			t.Errorf("no other manager has gone on with it: epoch %d", tr.m.Status.Epoch)
		}
		tr.targetServes()
	})
	t.Run("poisonous message", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		// The source rejects them, and so does the copy, which reads the same.
		if err := load.Poison(tr.ctx, lab.BrokerURL, tr.flow.Queue, 3); err != nil {
			t.Fatal(err)
		}
		tr.completes()
		tr.targetServes()
	})
}

// TestFaultDeletedAfterCommit deletes a migration when the target has won: it is
// finished forward.
func TestFaultDeletedAfterCommit(t *testing.T) {
	tr := begin(t, nil)
	tr.migrate(nil)
	tr.until(decided)
	tr.m = deleteAndWatch(tr.ctx, t, tr.m)
	tr.targetServes()
}

// TestFaultAPIServer takes the API server away while the copy replays: the source
// serves on, and the migration goes on afterwards.
func TestFaultAPIServer(t *testing.T) {
	tr := begin(t, nil)
	tr.migrate(nil)
	tr.reach(v1alpha1.PhaseReplaying)
	mend := tr.hit(lab.Stop(tr.ctx, "kube-apiserver"))
	tr.counts(1000)
	mend()
	// It may not know the kinds of MS2M's policies yet: that is nobody else's trouble.
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "any", Namespace: metav1.NamespaceDefault},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "any"}}},
	}
	if err := lab.Client.Create(tr.ctx, pod, client.DryRunAll); err != nil {
		t.Error(err)
	}
	tr.completes()
	tr.targetServes()
}

// TestFaultNamespaceDeleted deletes the namespace of a migration whose broker (with
// -full also: whose registry) does not come back: it goes all the same, after a bounded time.
func TestFaultNamespaceDeleted(t *testing.T) {
	managerAt(t, "--abandon=10s")
	components := []string{"rabbitmq"}
	if *full {
		components = append(components, "registry")
	}
	for _, component := range components {
		t.Run(component+" gone", func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			cfg := busy("gone-" + component)
			cfg.Namespace, cfg.BallastMB = "e2e-gone-"+component, 48
			flow, err := lab.StartFlow(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			tr := &trial{T: t, ctx: ctx, flow: flow}
			tr.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := flow.Close(ctx); err != nil {
					t.Error(err)
				}
			})
			tr.migrate(nil)
			tr.reach(v1alpha1.PhaseReplaying)
			tr.hit(lab.Stop(ctx, component))
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: cfg.Namespace}}
			if err := lab.Client.Delete(ctx, namespace); err != nil {
				t.Fatal(err)
			}
			if err := harness.Gone(ctx, lab, namespace, &corev1.NamespaceList{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}
