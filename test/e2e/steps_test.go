package e2e

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// phases in their order, up to the point of no return and past it.
var phases = []v1alpha1.MigrationPhase{
	v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
	v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing, v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed,
}

// later are the phases after one.
func later(phase v1alpha1.MigrationPhase) []v1alpha1.MigrationPhase {
	for i, p := range phases {
		if p == phase {
			return phases[i+1:]
		}
	}
	return nil
}

func keyOf(pod *corev1.Pod) client.ObjectKey { return client.ObjectKeyFromObject(pod) }

// create lets the counter count a while, fills its queue and creates a migration
// to node-b.
func create(ctx context.Context, t *testing.T, flow *harness.Flow, change func(*v1alpha1.StatefulMigration)) *v1alpha1.StatefulMigration {
	t.Helper()
	if err := flow.Counted(ctx, 200); err != nil {
		t.Fatal(err)
	}
	if err := flow.Fill(ctx, 1000); err != nil {
		t.Fatal(err)
	}
	m := flow.Migration(harness.NodeB)
	m.Spec.Throttle = v1alpha1.ThrottleNever // for the replay to last until something is done to it
	if change != nil {
		change(m)
	}
	if err := lab.Client.Create(ctx, m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteMigration(t, m) })
	return m
}

func follow(ctx context.Context, t *testing.T, m *v1alpha1.StatefulMigration, done func(*v1alpha1.StatefulMigration) bool) *v1alpha1.StatefulMigration {
	t.Helper()
	last, err := lab.Follow(ctx, m, done)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// deleteAndWatch deletes a migration, waits until it is gone, and returns the
// last that was seen of it.
func deleteAndWatch(ctx context.Context, t *testing.T, m *v1alpha1.StatefulMigration) *v1alpha1.StatefulMigration {
	t.Helper()
	if err := lab.Client.Delete(ctx, m); err != nil {
		t.Fatal(err)
	}
	last := m
	err := harness.Until(ctx, lab, m, &v1alpha1.StatefulMigrationList{}, func(now *v1alpha1.StatefulMigration) (bool, error) {
		if now == nil {
			return true, nil
		}
		last = now
		return false, nil
	})
	if err != nil {
		t.Fatalf("%v (%s)", err, harness.Summary(last))
	}
	return last
}
