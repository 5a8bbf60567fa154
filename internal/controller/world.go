package controller

import (
	"context"

	authorizationv1 "k8s.io/api/authorization/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/sdk/handover"
)

//go:generate mockgen -source=world.go -destination=mock_world_test.go -package=controller_test

// Checkpointer has containers checkpointed by the kubelets of their nodes.
type Checkpointer interface {
	// Checkpoint returns the archive's file name on the node.
	Checkpoint(ctx context.Context, node, namespace, pod, container string) (archive string, err error)
}

// Access knows what the manager may do.
type Access interface {
	Allowed(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error)
}

// Registry knows checkpoints in repositories, addressed by digest.
type Registry interface {
	Exists(ctx context.Context, reference string) (bool, error)
	// Writable is nil if something could be pushed to the repository.
	Writable(ctx context.Context, repository string) error
	Delete(ctx context.Context, reference string) error
}

// Observer is told what a write of a status has changed, once it was made.
type Observer interface {
	Wrote(m *v1alpha1.StatefulMigration, before *v1alpha1.StatefulMigrationStatus)
}

// Failures is told why an action failed.
type Failures interface {
	Failed(reason string)
}

// Brokers gives the broker of a URL, and takes it back.
type Brokers interface {
	Acquire(url string) Broker
	Release(Broker)
}

// Broker is what the manager does at a broker.
type Broker interface {
	Instances
	Queues
	Holds
	Decisions
	// Generation counts the connections; see broker.Client.
	Generation() int64
}

// Instances are the instances of the library: commands to them, and what they said.
type Instances interface {
	Send(ctx context.Context, cmd handover.Command, correlation string) error
	Heard(podUID string) (broker.Heard, bool)
	Forget(podUID string)
}

// Queues are queues by name.
type Queues interface {
	Look(ctx context.Context, name string) (*broker.Queue, error)
	CreateReplayQueue(ctx context.Context, name string) error
	DeleteQueue(ctx context.Context, name string) error
}

// Holds are hold records by key.
type Holds interface {
	SetHold(ctx context.Context, key string, hold handover.Hold) error
	RemoveHold(ctx context.Context, key, migration string) error
}

// Decisions are the decisions of migrations.
type Decisions interface {
	ReadDecision(ctx context.Context, migration string) (handover.Decision, error)
	WriteAbort(ctx context.Context, migration string) (handover.Decision, error)
	RemoveDecision(ctx context.Context, migration string) error
}

// RabbitMQ makes Brokers of a pool of connections to RabbitMQ.
func RabbitMQ(pool *broker.Pool) Brokers { return rabbitMQ{pool} }

type rabbitMQ struct{ pool *broker.Pool }

func (r rabbitMQ) Acquire(url string) Broker { return r.pool.Acquire(url) }

func (r rabbitMQ) Release(b Broker) {
	if c, ok := b.(*broker.Client); ok {
		r.pool.Release(c)
	}
}
