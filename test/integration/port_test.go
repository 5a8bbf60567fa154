package integration

import (
	"context"
	"fmt"
	"maps"

	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/sdk/handover"
)

// port is the plane as one manager process sees it: its connection to the broker,
// with a queue for reports of its own.
type port struct {
	*plane
	*inbox
}

// inbox is the queue for reports of one manager: what comes for one that has left is lost.
type inbox struct {
	name  string
	heard map[string]*broker.Heard
	wake  func(pod string)
}

var _ controller.Brokers = port{}

// enter connects a manager.
func (p *plane) enter(wake func(pod string)) port {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entered++
	in := &inbox{name: fmt.Sprintf("manager-%d", p.entered), heard: map[string]*broker.Heard{}, wake: wake}
	p.inboxes[in.name] = in
	return port{p, in}
}

// leave cuts the connection: the broker drops the queue with it.
func (p port) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.inboxes, p.name)
}

func (p port) Acquire(string) controller.Broker { return p }
func (p port) Release(controller.Broker)        {}

func (p port) Generation() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return 0
	}
	return 1
}

// do does something at the broker.
func (p port) do(f func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return broker.ErrUnavailable
	}
	return f()
}

func (p port) Send(_ context.Context, c handover.Command, correlation string) error {
	return p.do(func() error {
		in := p.instances[c.PodUID]
		if in == nil || in.Mute {
			return broker.ErrNoInstance
		}
		answer := in.Take(c, p.decisions[c.Migration])
		if c.Migration == in.Migration {
			in.ReplyTo = p.name
		}
		p.tell(p.name, correlation, answer)
		if source := p.sourceOf(in); in.State == handover.Replaying && source != nil && source.State == handover.Relaying {
			in.Number, in.Rate = source.Confirmed-in.Behind, 10
			p.tell(p.name, "", in.Report(handover.ReportProgress, ""))
		}
		p.settle()
		return nil
	})
}

func (p port) Heard(pod string) (broker.Heard, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.heard[pod]
	if h == nil {
		return broker.Heard{}, false
	}
	if in := p.instances[pod]; p.flowing && in != nil && in.ReplyTo == p.name {
		switch in.State {
		case handover.Relaying:
			in.Number++
			in.Confirmed++
		case handover.Replaying:
			in.Number++
		}
		h.Last.Status = in.Status
	}
	out := *h
	out.Answers = maps.Clone(h.Answers)
	return out, true
}

func (p port) Forget(pod string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.heard, pod)
}

func (p port) Look(_ context.Context, name string) (q *broker.Queue, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down:
		return nil, broker.ErrUnavailable
	case p.queues[name]:
		q := &broker.Queue{}
		for _, in := range p.instances {
			switch in.State {
			case handover.Live, handover.Paused, handover.Relaying:
				q.Consumers++
			}
		}
		return q, nil
	}
	return nil, nil
}

func (p port) CreateReplayQueue(_ context.Context, name string) error {
	return p.do(func() error { p.queues[name] = true; return nil })
}

func (p port) DeleteQueue(_ context.Context, name string) error {
	return p.do(func() error { delete(p.queues, name); return nil })
}

func (p port) SetHold(_ context.Context, key string, h handover.Hold) error {
	return p.do(func() error {
		if other, ok := p.holds[key]; ok && other.Migration != h.Migration {
			return broker.ErrHeldByOther
		}
		p.holds[key] = h
		return nil
	})
}

func (p port) RemoveHold(_ context.Context, key, migration string) error {
	return p.do(func() error {
		if p.holds[key].Migration == migration {
			delete(p.holds, key)
		}
		return nil
	})
}

func (p port) ReadDecision(_ context.Context, migration string) (d handover.Decision, err error) {
	err = p.do(func() error { d = p.decisions[migration]; return nil })
	return d, err
}

func (p port) WriteAbort(_ context.Context, migration string) (d handover.Decision, err error) {
	err = p.do(func() error {
		p.abort(migration)
		d = p.decisions[migration]
		return nil
	})
	return d, err
}

func (p port) RemoveDecision(_ context.Context, migration string) error {
	return p.do(func() error { delete(p.decisions, migration); return nil })
}

// Checkpoint is the kubelet's.
func (p port) Checkpoint(_ context.Context, node, namespace, pod, container string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.checkpoints) > 0 {
		next := p.checkpoints[0]
		p.checkpoints = p.checkpoints[1:]
		if err := next(); err != nil {
			return "", err
		}
	}
	source := p.running(namespace, pod)
	if source == nil {
		return "", &kubelet.Error{Code: 404, Message: "no such container"}
	}
	p.taken++
	name := fmt.Sprintf("checkpoint-%s_%s-%s-%d.tar", pod, namespace, container, p.taken)
	p.archives[name] = *source
	return name, nil
}

// running is the instance in the pod of a name. The lock is held.
func (p *plane) running(namespace, name string) *instancetest.Instance {
	for uid, pod := range p.started {
		if in := p.instances[uid]; in != nil && pod.Namespace == namespace && pod.Name == name {
			return in
		}
	}
	return nil
}

// repository is the registry as a manager sees it.
type repository struct{ port }

func (r repository) Exists(_ context.Context, ref string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.images[ref]
	return ok, nil
}

func (r repository) Writable(context.Context, string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unwritable
}

func (r repository) Delete(_ context.Context, ref string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, ref)
	return nil
}
