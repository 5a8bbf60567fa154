package failpoint

import (
	"context"

	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/sdk/handover"
)

// get is Do for an effect with a result.
func get[T any](p *Points, name string, effect func() (T, error)) (out T, err error) {
	err = p.Do(name, func() error {
		got, err := effect()
		out = got
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// Kubelet numbers the calls of kubelets.
func (p *Points) Kubelet(inner controller.Checkpointer) controller.Checkpointer {
	return kubelets{p, inner}
}

type kubelets struct {
	points *Points
	inner  controller.Checkpointer
}

func (k kubelets) Checkpoint(ctx context.Context, node, namespace, pod, container string) (string, error) {
	return get(k.points, "Checkpoint", func() (string, error) { return k.inner.Checkpoint(ctx, node, namespace, pod, container) })
}

// Registry numbers the calls of registries.
func (p *Points) Registry(inner controller.Registry) controller.Registry {
	return registries{p, inner}
}

type registries struct {
	points *Points
	inner  controller.Registry
}

func (r registries) Exists(ctx context.Context, reference string) (bool, error) {
	return get(r.points, "Exists", func() (bool, error) { return r.inner.Exists(ctx, reference) })
}

func (r registries) Writable(ctx context.Context, repository string) error {
	return r.points.Do("Writable", func() error { return r.inner.Writable(ctx, repository) })
}

func (r registries) Delete(ctx context.Context, reference string) error {
	return r.points.Do("DeleteImage", func() error { return r.inner.Delete(ctx, reference) })
}

// Brokers numbers the commands to brokers.
func (p *Points) Brokers(inner controller.Brokers) controller.Brokers {
	return brokers{p, inner}
}

type brokers struct {
	points *Points
	inner  controller.Brokers
}

func (b brokers) Acquire(url string) controller.Broker {
	return &numbered{Broker: b.inner.Acquire(url), points: b.points}
}

func (b brokers) Release(c controller.Broker) {
	b.inner.Release(c.(*numbered).Broker)
}

// numbered is a broker; what it was told by instances is not numbered.
type numbered struct {
	controller.Broker
	points *Points
}

func (c *numbered) Send(ctx context.Context, cmd handover.Command, correlation string) error {
	return c.points.Do("Send "+string(cmd.Kind), func() error { return c.Broker.Send(ctx, cmd, correlation) })
}

func (c *numbered) Look(ctx context.Context, name string) (*broker.Queue, error) {
	return get(c.points, "Look", func() (*broker.Queue, error) { return c.Broker.Look(ctx, name) })
}

func (c *numbered) CreateReplayQueue(ctx context.Context, name string) error {
	return c.points.Do("CreateReplayQueue", func() error { return c.Broker.CreateReplayQueue(ctx, name) })
}

func (c *numbered) DeleteQueue(ctx context.Context, name string) error {
	return c.points.Do("DeleteQueue", func() error { return c.Broker.DeleteQueue(ctx, name) })
}

func (c *numbered) SetHold(ctx context.Context, key string, hold handover.Hold) error {
	return c.points.Do("SetHold", func() error { return c.Broker.SetHold(ctx, key, hold) })
}

func (c *numbered) RemoveHold(ctx context.Context, key, migration string) error {
	return c.points.Do("RemoveHold", func() error { return c.Broker.RemoveHold(ctx, key, migration) })
}

func (c *numbered) ReadDecision(ctx context.Context, migration string) (handover.Decision, error) {
	return get(c.points, "ReadDecision", func() (handover.Decision, error) { return c.Broker.ReadDecision(ctx, migration) })
}

func (c *numbered) WriteAbort(ctx context.Context, migration string) (handover.Decision, error) {
	return get(c.points, "WriteAbort", func() (handover.Decision, error) { return c.Broker.WriteAbort(ctx, migration) })
}

func (c *numbered) RemoveDecision(ctx context.Context, migration string) error {
	return c.points.Do("RemoveDecision", func() error { return c.Broker.RemoveDecision(ctx, migration) })
}
