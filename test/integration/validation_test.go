package integration

import (
	"strings"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// TestValidation gives the API server specs to accept and to refuse. What is
// refused is refused with a message that names the field.
func TestValidation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broker := func(change func(*v1alpha1.MessageQueueConfig)) migrationChange {
		return func(m *v1alpha1.StatefulMigration) { change(&m.Spec.MessageQueueConfig) }
	}
	url := func(s string) migrationChange {
		return broker(func(c *v1alpha1.MessageQueueConfig) { c.BrokerURL = s })
	}
	several := func(names ...string) migrationChange {
		return broker(func(c *v1alpha1.MessageQueueConfig) { c.QueueName, c.QueueNames = "", names })
	}
	repository := func(s string) migrationChange {
		return func(m *v1alpha1.StatefulMigration) { m.Spec.CheckpointImageRepository = s }
	}
	for name, test := range map[string]struct {
		change  migrationChange
		message string // empty: accepted
	}{
		"plain":             {change: func(*v1alpha1.StatefulMigration) {}},
		"own namespace":     {change: func(m *v1alpha1.StatefulMigration) { m.Spec.SourcePod.Namespace = w.namespace }},
		"foreign namespace": {change: func(m *v1alpha1.StatefulMigration) { m.Spec.SourcePod.Namespace = "default" }, message: "spec.sourcePod.namespace"},
		"no pod":            {change: func(m *v1alpha1.StatefulMigration) { m.Spec.SourcePod.Name = "" }, message: "spec.sourcePod.name"},
		"no target":         {change: func(m *v1alpha1.StatefulMigration) { m.Spec.TargetNode = nil }},
		"target by labels": {change: func(m *v1alpha1.StatefulMigration) {
			m.Spec.TargetNode = &v1alpha1.TargetNode{Selector: map[string]string{"a": "b"}}
		}},
		"target by both":        {change: func(m *v1alpha1.StatefulMigration) { m.Spec.TargetNode.Selector = map[string]string{"a": "b"} }, message: "spec.targetNode"},
		"target by neither":     {change: func(m *v1alpha1.StatefulMigration) { m.Spec.TargetNode = &v1alpha1.TargetNode{} }, message: "spec.targetNode"},
		"URL with user":         {change: url("amqps://user@broker:5671/vhost")},
		"password in the URL":   {change: url("amqp://user:secret@broker:5672/"), message: "spec.messageQueueConfig.brokerURL"},
		"password with a slash": {change: url("amqp://user:secret/@broker:5672/"), message: "spec.messageQueueConfig.brokerURL"},
		"no AMQP":               {change: url("http://broker"), message: "spec.messageQueueConfig.brokerURL"},
		"no broker":             {change: url(""), message: "spec.messageQueueConfig"},
		"URL and Secret":        {change: broker(func(c *v1alpha1.MessageQueueConfig) { c.BrokerURLSecretRef = &v1alpha1.SecretKeyReference{Name: "s"} }), message: "spec.messageQueueConfig"},
		"Secret": {change: broker(func(c *v1alpha1.MessageQueueConfig) {
			c.BrokerURL, c.BrokerURLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "s"}
		})},
		"no queue":               {change: broker(func(c *v1alpha1.MessageQueueConfig) { c.QueueName = "" }), message: "set queueName, or queueNames"},
		"several queues":         {change: several("a", "b")},
		"one queue and several":  {change: broker(func(c *v1alpha1.MessageQueueConfig) { c.QueueNames = []string{"a", "b"} }), message: "set queueName, or queueNames"},
		"one of several":         {change: several("a"), message: "spec.messageQueueConfig.queueNames"},
		"one queue twice":        {change: several("a", "b", "a"), message: "spec.messageQueueConfig.queueNames[2]"},
		"a queue without a name": {change: several("a", ""), message: "spec.messageQueueConfig.queueNames[1]"},
		"replay queue is one of several": {change: func(m *v1alpha1.StatefulMigration) {
			several("a", "b")(m)
			m.Spec.MessageQueueConfig.ReplayQueueName = "b"
		}, message: "queueNames"},
		"replay queue is primary":  {change: broker(func(c *v1alpha1.MessageQueueConfig) { c.ReplayQueueName = queue }), message: "replayQueueName"},
		"replay queue of RabbitMQ": {change: broker(func(c *v1alpha1.MessageQueueConfig) { c.ReplayQueueName = "amq.x" }), message: "spec.messageQueueConfig.replayQueueName"},
		"another broker":           {change: broker(func(c *v1alpha1.MessageQueueConfig) { c.Broker = "Kafka" }), message: "spec.messageQueueConfig.broker"},
		"repository with port":     {change: repository("10.0.0.1:5000/a/b")},
		"repository with tag":      {change: repository("registry/a:latest"), message: "spec.checkpointImageRepository"},
		"repository with digest":   {change: repository("registry/a@sha256:00"), message: "spec.checkpointImageRepository"},
		"repository with scheme":   {change: repository("https://registry/a"), message: "spec.checkpointImageRepository"},
		"an unknown throttle":      {change: func(m *v1alpha1.StatefulMigration) { m.Spec.Throttle = "Sometimes" }, message: "spec.throttle"},
		"cut-off out of range":     {change: func(m *v1alpha1.StatefulMigration) { m.Spec.ReplayCutoffSeconds = -1 }, message: "spec.replayCutoffSeconds"},
		"deadline out of range":    {change: func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.ReplaySeconds = 100000 }, message: "spec.deadlines.replaySeconds"},
		"another strategy":         {change: func(m *v1alpha1.StatefulMigration) { m.Spec.Strategy = "Magic" }, message: "spec.strategy"},
		"another retention":        {change: func(m *v1alpha1.StatefulMigration) { m.Spec.CheckpointRetention = "Sometimes" }, message: "spec.checkpointRetention"},
	} {
		t.Run(name, func(t *testing.T) {
			m := w.migration(test.change)
			m.Name, m.GenerateName = "", "valid-"
			err := kube.Create(w.ctx, m)
			switch {
			case test.message == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.message != "" && err == nil:
				t.Error("accepted")
			case test.message != "" && !strings.Contains(err.Error(), test.message):
				t.Errorf("refused without naming %q: %v", test.message, err)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("the refusal tells the password: %v", err)
			}
		})
	}
}

// TestImmutable refuses to change a spec, and leaves out of it what nobody has said: a
// MigrationPolicy has its say there.
func TestImmutable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.create()
	if s := m.Spec; s.ReplayCutoffSeconds != 0 || s.Strategy != "" || s.CheckpointRetention != "" || s.Deadlines != (v1alpha1.Deadlines{}) ||
		s.BackoffLimit != nil || s.TTLSecondsAfterFinished != nil || s.MessageQueueConfig.Broker != v1alpha1.BrokerRabbitMQ {
		t.Errorf("what nobody said: %+v", s)
	}
	m.Spec.SourcePod.Name = "other"
	if err := kube.Update(w.ctx, m); err == nil || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("changed: %v", err)
	}
}

// TestTransferValidation does the same for legs.
func TestTransferValidation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		spec    v1alpha1.CheckpointTransferSpec
		message string
	}{
		"push":                 {spec: v1alpha1.CheckpointTransferSpec{Direction: "Push", Archive: "a.tar", Repository: "r/c"}},
		"push of nothing":      {spec: v1alpha1.CheckpointTransferSpec{Direction: "Push", Repository: "r/c"}, message: "archive"},
		"push out of the way":  {spec: v1alpha1.CheckpointTransferSpec{Direction: "Push", Archive: "../a.tar", Repository: "r/c"}, message: "spec.archive"},
		"stage":                {spec: v1alpha1.CheckpointTransferSpec{Direction: "Stage", Image: "r/c@sha256:00"}},
		"stage by tag":         {spec: v1alpha1.CheckpointTransferSpec{Direction: "Stage", Image: "r/c:latest"}, message: "spec.image"},
		"stage of nothing":     {spec: v1alpha1.CheckpointTransferSpec{Direction: "Stage"}}, // to be withdrawn
		"fetch of nothing":     {spec: v1alpha1.CheckpointTransferSpec{Direction: "Fetch"}, message: "image"},
		"thaw":                 {spec: v1alpha1.CheckpointTransferSpec{Direction: "Thaw", KeepFrozen: true}},
		"sweep":                {spec: v1alpha1.CheckpointTransferSpec{Direction: "Sweep"}},
		"nothing of the three": {spec: v1alpha1.CheckpointTransferSpec{Direction: "Dance"}, message: "spec.direction"},
	} {
		t.Run(name, func(t *testing.T) {
			leg := &v1alpha1.CheckpointTransfer{Spec: test.spec}
			leg.GenerateName, leg.Namespace = "leg-", w.namespace
			leg.Spec.NodeName, leg.Spec.MigrationUID, leg.Spec.PodName, leg.Spec.PodUID, leg.Spec.Container = nodeA, "m", "p", "u", "c"
			err := kube.Create(w.ctx, leg)
			switch {
			case test.message == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.message != "" && (err == nil || !strings.Contains(err.Error(), test.message)):
				t.Errorf("refused with %v, want it to name %q", err, test.message)
			}
		})
	}
}
