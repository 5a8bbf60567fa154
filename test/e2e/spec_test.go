package e2e

import (
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// TestWrongSpec asserts that a wrong spec is refused, or fails, with a message
// that names the field, and that the counter does not notice.
func TestWrongSpec(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "wrong-spec"}})
	if err := flow.Counted(ctx, 100); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, field string
		change      func(*v1alpha1.StatefulMigrationSpec)
	}{
		{"no such pod", "sourcePod.name", func(s *v1alpha1.StatefulMigrationSpec) { s.SourcePod.Name = "nobody" }},
		{"foreign namespace", "sourcePod.namespace", func(s *v1alpha1.StatefulMigrationSpec) { s.SourcePod.Namespace = "kube-system" }},
		{"no such container", "container", func(s *v1alpha1.StatefulMigrationSpec) { s.Container = "nobody" }},
		{"no such node", "targetNode.name", func(s *v1alpha1.StatefulMigrationSpec) { s.TargetNode.Name = "nowhere" }},
		{"the source's node", "targetNode.name", func(s *v1alpha1.StatefulMigrationSpec) { s.TargetNode.Name = harness.NodeA }},
		{"node by name and by labels", "targetNode", func(s *v1alpha1.StatefulMigrationSpec) {
			s.TargetNode.Selector = map[string]string{"a": "b"}
		}},
		{"no such queue", "messageQueueConfig.queueName", func(s *v1alpha1.StatefulMigrationSpec) {
			s.MessageQueueConfig.QueueName = "nothing"
		}},
		{"another queue than the pod's", "messageQueueConfig.queueName", func(s *v1alpha1.StatefulMigrationSpec) {
			s.MessageQueueConfig.QueueName = flow.Counter.Outputs
		}},
		{"password in the URL", "brokerURL", func(s *v1alpha1.StatefulMigrationSpec) {
			s.MessageQueueConfig.BrokerURLSecretRef = nil
			s.MessageQueueConfig.BrokerURL = "amqp://user:secret@10.99.0.1:5672/"
		}},
		{"URL and Secret", "brokerURL", func(s *v1alpha1.StatefulMigrationSpec) {
			s.MessageQueueConfig.BrokerURL = "amqp://10.99.0.1:5672/"
		}},
		{"no such Secret", "brokerURLSecretRef", func(s *v1alpha1.StatefulMigrationSpec) {
			s.MessageQueueConfig.BrokerURLSecretRef.Name = "nothing"
		}},
		{"replay queue is the primary", "replayQueueName", func(s *v1alpha1.StatefulMigrationSpec) {
			s.MessageQueueConfig.ReplayQueueName = s.MessageQueueConfig.QueueName
		}},
		{"repository with a tag", "checkpointImageRepository", func(s *v1alpha1.StatefulMigrationSpec) {
			s.CheckpointImageRepository += ":latest"
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := flow.Migration(harness.NodeB)
			m.Name = "wrong-" + strings.ReplaceAll(strings.ToLower(strings.ReplaceAll(tc.name, "'", "")), " ", "-")
			m.Spec.Deadlines.PendingSeconds = 3 // what may yet come is waited for
			tc.change(&m.Spec)
			var message string
			if err := lab.Client.Create(ctx, m); err != nil {
				message = err.Error()
			} else {
				t.Cleanup(func() { deleteMigration(t, m) })
				m = follow(ctx, t, m, harness.Ended)
				if m.Status.Phase != v1alpha1.PhaseFailed {
					t.Errorf("phase %s", m.Status.Phase)
				}
				message = harness.Summary(m)
			}
			t.Log(message)
			if !strings.Contains(message, tc.field) {
				t.Errorf("the message does not name %s", tc.field)
			}
			if strings.Contains(message, "secret@") {
				t.Error("the message holds the password")
			}
			noTraces(ctx, t, flow, m, flow.Pod)
		})
	}
	outcome, err := flow.Finish(ctx, flow.Pod)
	if err != nil {
		t.Fatal(err)
	}
	judged(t, outcome)
}
