package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/sdk/handover"
)

const queue = "orders"

var errDead = errors.New("the manager is dead")

// plane is the simulated data plane of one test: what outlives managers.
type plane struct {
	mu        sync.Mutex
	queues    map[string]bool
	holds     map[string]string // key: migration
	decisions map[string]handover.Decision
	commits   int
	instances map[string]*instancetest.Instance // by pod UID
	archives  map[string]bool
	images    map[string]bool

	down        bool                      // the broker
	checkpoints []func() error            // errors of the next kubelet calls
	transfer    map[string]func() outcome // by direction: how the next legs end
	wakes       func(pod string, in *instancetest.Instance)
	flowing     bool // a message is handled, and another replayed, with every look
	heard       map[string]*broker.Heard
	wake        func(pod string)
	taken       int // checkpoints
}

// outcome is how a leg ends; the zero value is well.
type outcome struct{ reason, message string }

func newPlane() *plane {
	return &plane{
		queues: map[string]bool{queue: true}, holds: map[string]string{},
		decisions: map[string]handover.Decision{}, instances: map[string]*instancetest.Instance{},
		archives: map[string]bool{}, images: map[string]bool{},
		transfer: map[string]func() outcome{}, heard: map[string]*broker.Heard{},
		wake: func(string) {},
	}
}

// traces are what a migration has left.
func (p *plane) traces() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []string
	for q := range p.queues {
		if q != queue {
			left = append(left, "queue "+q)
		}
	}
	for k := range p.holds {
		left = append(left, "hold "+k)
	}
	for m := range p.decisions {
		left = append(left, "decision of "+m)
	}
	for a := range p.archives {
		left = append(left, "archive "+a)
	}
	for i := range p.images {
		left = append(left, "image "+i)
	}
	return left
}

// tell delivers a report. The lock is held.
func (p *plane) tell(pod, correlation string, r handover.Report) {
	h := p.heard[pod]
	if h == nil {
		h = &broker.Heard{Answers: map[handover.CommandKind]broker.Answer{}}
		p.heard[pod] = h
	}
	now := time.Now()
	h.Last, h.At = r, now
	if r.Answers != "" {
		h.Answers[r.Answers] = broker.Answer{Correlation: correlation, At: now, Report: r}
	}
	go p.wake(pod)
}

// settle lets the target decide when the source is frozen and it has applied
// everything, as the library does without the manager. The lock is held.
func (p *plane) settle() {
	for pod, target := range p.instances {
		if target.State != handover.Replaying {
			continue
		}
		if target.Fence != nil {
			p.commit(target.Migration)
			for member, in := range p.instances {
				if in.Migration == target.Migration {
					in.Obey(p.decisions[target.Migration])
					p.tell(member, "", in.Report(in.Kind(), ""))
				}
			}
			return
		}
		for sourcePod, source := range p.instances {
			if source.Migration != target.Migration || source.State != handover.Frozen {
				continue
			}
			p.commit(target.Migration)
			target.Number = source.Number
			target.Obey(p.decisions[target.Migration])
			p.tell(pod, "", target.Report(target.Kind(), ""))
			source.Obey(p.decisions[target.Migration])
			p.tell(sourcePod, "", source.Report(source.Kind(), ""))
			return
		}
	}
}

// commit writes COMMIT, if nothing stands yet. The lock is held.
func (p *plane) commit(migration string) {
	if p.decisions[migration] == handover.Undecided {
		p.decisions[migration] = handover.Commit
		p.commits++
	}
}

// port is the plane as one manager process sees it. When the process is
// killed, nothing of it gets through any more.
type port struct {
	*plane
	effect func(name string) (after func(), err error)
}

var _ controller.Brokers = port{}

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
func (p port) do(name string, f func() error) error {
	after, err := p.effect(name)
	if err != nil {
		return err
	}
	defer after()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return broker.ErrUnavailable
	}
	return f()
}

func (p port) Send(_ context.Context, c handover.Command, correlation string) error {
	return p.do("Send "+string(c.Kind), func() error {
		in := p.instances[c.PodUID]
		if in == nil || in.Mute {
			return broker.ErrNoInstance
		}
		p.tell(c.PodUID, correlation, in.Take(c, p.decisions[c.Migration]))
		if in.State == handover.Replaying {
			for _, source := range p.instances {
				if source.Migration == in.Migration && source.State == handover.Relaying {
					in.Number, in.Rate = source.Confirmed-in.Behind, 10
				}
			}
			p.tell(c.PodUID, "", in.Report(handover.ReportProgress, ""))
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
	if in := p.instances[pod]; p.flowing && in != nil {
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
		return &broker.Queue{Consumers: 1}, nil
	}
	return nil, nil
}

func (p port) CreateReplayQueue(_ context.Context, name string) error {
	return p.do("CreateReplayQueue", func() error { p.queues[name] = true; return nil })
}

func (p port) DeleteQueue(_ context.Context, name string) error {
	return p.do("DeleteQueue", func() error { delete(p.queues, name); return nil })
}

func (p port) SetHold(_ context.Context, key string, h handover.Hold) error {
	return p.do("SetHold", func() error {
		if other := p.holds[key]; other != "" && other != h.Migration {
			return broker.ErrHeldByOther
		}
		p.holds[key] = h.Migration
		return nil
	})
}

func (p port) RemoveHold(_ context.Context, key, migration string) error {
	return p.do("RemoveHold", func() error {
		if p.holds[key] == migration {
			delete(p.holds, key)
		}
		return nil
	})
}

func (p port) ReadDecision(_ context.Context, migration string) (d handover.Decision, err error) {
	err = p.do("ReadDecision", func() error { d = p.decisions[migration]; return nil })
	return d, err
}

func (p port) WriteAbort(_ context.Context, migration string) (d handover.Decision, err error) {
	err = p.do("WriteAbort", func() error {
		if p.decisions[migration] == handover.Undecided {
			p.decisions[migration] = handover.Aborted
		}
		d = p.decisions[migration]
		return nil
	})
	return d, err
}

func (p port) RemoveDecision(_ context.Context, migration string) error {
	return p.do("RemoveDecision", func() error { delete(p.decisions, migration); return nil })
}

// Checkpoint is the kubelet's.
func (p port) Checkpoint(_ context.Context, node, namespace, pod, container string) (string, error) {
	after, err := p.effect("Checkpoint")
	if err != nil {
		return "", err
	}
	defer after()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.checkpoints) > 0 {
		next := p.checkpoints[0]
		p.checkpoints = p.checkpoints[1:]
		if err := next(); err != nil {
			return "", err
		}
	}
	p.taken++
	name := fmt.Sprintf("checkpoint-%s_%s-%s-%d.tar", pod, namespace, container, p.taken)
	p.archives[name] = true
	return name, nil
}

// repository is the registry as a manager sees it.
type repository struct{ port }

func (r repository) Exists(_ context.Context, ref string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.images[ref], nil
}

func (r repository) Delete(_ context.Context, ref string) error {
	after, err := r.effect("DeleteImage")
	if err != nil {
		return err
	}
	defer after()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, ref)
	return nil
}

// sweep removes the archives of a container, as an agent does.
func (p *plane) sweep(prefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.archives, func(name string, _ bool) bool { return strings.HasPrefix(name, prefix) })
}
