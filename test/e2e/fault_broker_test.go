package e2e

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/test/harness"
)

// TestFaultBroker takes the broker away, or what a migration has there. Killed in
// every phase it is in TestBrokerRestart, cut off in TestConnectionLoss.
func TestFaultBroker(t *testing.T) {
	t.Run("stopped before the checkpoint", func(t *testing.T) {
		tr := begin(t, nil)
		mend := tr.hit(lab.Stop(tr.ctx, "rabbitmq"))
		tr.submit(deadlines(v1alpha1.Deadlines{PendingSeconds: 8}))
		tr.tells(v1alpha1.ConditionReady, migration.ReasonBrokerUnavailable)
		tr.ends(v1alpha1.PhaseFailed, migration.ReasonBrokerUnavailable)
		mend()
		tr.sourceAsBefore()
	})
	t.Run("disk alarm", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		mend := tr.hit(lab.DiskAlarm(tr.ctx))
		tr.stands(2 * time.Second)
		mend()
		tr.completes()
		tr.targetServes()
	})
	t.Run("replay queue deleted", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		if err := lab.DropQueue(tr.ctx, migration.ReplayQueue(tr.m, tr.m.Status.Hop)); err != nil {
			t.Fatal(err)
		}
		tr.m = follow(tr.ctx, t, tr.m, harness.Ended)
		if tr.m.Status.Phase != v1alpha1.PhaseFailed {
			t.Fatal(harness.Summary(tr.m))
		}
		t.Log(harness.Summary(tr.m))
		tr.sourceAsBefore()
	})
	if !*full {
		return // TestFaultSecret waits and goes on, too
	}
	t.Run("back before the deadline", func(t *testing.T) {
		tr := begin(t, nil)
		mend := tr.hit(lab.Stop(tr.ctx, "rabbitmq"))
		tr.submit(nil)
		tr.tells(v1alpha1.ConditionReady, migration.ReasonBrokerUnavailable)
		mend()
		tr.completes()
		tr.targetServes()
	})
}

// TestFaultSecret begins a migration whose Secret is not there, and makes it.
func TestFaultSecret(t *testing.T) {
	tr := begin(t, nil)
	const name = "broker-of-fault-secret"
	tr.migrate(func(m *v1alpha1.StatefulMigration) { m.Spec.MessageQueueConfig.BrokerURLSecretRef.Name = name })
	tr.tells(v1alpha1.ConditionReady, migration.ReasonSecretUnavailable)
	if c := meta.FindStatusCondition(tr.m.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		t.Log(c.Message)
	}
	tr.hit(lab.BrokerSecret(tr.ctx, tr.flow.Namespace, name))
	tr.completes()
	tr.targetServes()
}
