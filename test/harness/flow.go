package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/load"
)

const (
	// quiet is how long no output comes before the last is taken for the last.
	quiet = time.Second
	// patience is how long nothing comes before what is missing is taken for lost.
	patience = 20 * time.Second
)

// FlowConfig says what a counter is to count.
type FlowConfig struct {
	CounterConfig
	Rate      float64 // messages per second
	Producers int
	Sizes     load.Sizes // of the messages
}

// Flow is a counter under load. Half of the producers publish to the default
// exchange, half to one that is bound to the queue.
type Flow struct {
	*Counter
	Generator *load.Generator
	Collector *load.Collector
	Begin     ledger.State // of the counter when it had counted nothing
	Others    []*Replica   // that share the queue
	fleet     bool         // a Deployment's: all its counters share both queues
}

// Replica is a counter that shares the queue of a flow.
type Replica struct {
	*Counter
	Collector *load.Collector
}

// StartFlow starts a counter and the load on it.
func (l *Lab) StartFlow(ctx context.Context, cfg FlowConfig) (*Flow, error) {
	c, err := l.StartCounter(ctx, cfg.CounterConfig)
	if err != nil {
		return nil, err
	}
	begin, err := l.State(ctx, c.Pod)
	if err != nil {
		return nil, err
	}
	if err := load.DeclareExchange(l.BrokerURL, c.exchange(), c.Queue); err != nil {
		return nil, err
	}
	return c.load(ctx, begin, cfg), nil
}

// load starts the load on a counter whose queues and exchange there are.
func (c *Counter) load(ctx context.Context, begin ledger.State, cfg FlowConfig) *Flow {
	return &Flow{
		Counter:   c,
		Begin:     begin,
		Collector: load.Collect(ctx, c.lab.BrokerURL, c.Outputs),
		Generator: load.Start(ctx, load.Config{
			URL: c.lab.BrokerURL, Queue: c.Queue, Exchange: c.exchange(),
			Producers: cfg.Producers, Rate: cfg.Rate, Sizes: cfg.Sizes}),
	}
}

func (c *Counter) exchange() string { return c.Queue + ".exchange" }

// Join starts a replica of the counter on a node.
func (f *Flow) Join(ctx context.Context, node string) (*Replica, error) {
	cfg := f.CounterConfig
	cfg.Name, cfg.Node = fmt.Sprintf("%s-replica-%d", f.Name, len(f.Others)+1), node
	c, err := f.lab.StartCounter(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r := &Replica{Counter: c, Collector: load.Collect(ctx, f.lab.BrokerURL, c.Outputs)}
	f.Others = append(f.Others, r)
	return r, nil
}

// count is the number of messages that the counter and its replicas have put out.
func (f *Flow) count() uint64 {
	n := f.Collector.Count()
	for _, r := range f.Others {
		n += r.Collector.Count()
	}
	return n
}

// Counted waits until the counter itself has put out at least n messages.
func (f *Flow) Counted(ctx context.Context, n uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer f.Generator.OnFailure(cancel)()
	if err := f.Collector.Reach(ctx, n); err != nil {
		return fmt.Errorf("counted %d of %d: %w", f.Collector.Count(), n, err)
	}
	return nil
}

// Fill sends as many messages at once as it takes for n to stand in the queue,
// the counter working meanwhile.
func (f *Flow) Fill(ctx context.Context, n int) error {
	for {
		confirmed := f.Generator.Confirmed()
		missing := n - int(confirmed-min(confirmed, f.count()))
		if missing <= 0 {
			return nil
		}
		f.Generator.Burst(missing)
		if err := f.Generator.Reach(ctx, confirmed+uint64(missing)); err != nil {
			return fmt.Errorf("send a backlog of %d messages: %w", n, err)
		}
	}
}

// Outcome is what has become of a flow.
type Outcome struct {
	load.Verdict
	Begin, End ledger.State
	Received   []load.Output
	Others     []ledger.State // of the replicas at the end
}

// SameMemory reports whether the memory at the end is the one at the beginning.
func (o Outcome) SameMemory() bool {
	return o.Begin.Mark == o.End.Mark && o.Begin.StartedAt.Equal(o.End.StartedAt)
}

// Finish stops the load, waits until everything is counted, and judges the
// counter that runs in the pod now.
func (f *Flow) Finish(ctx context.Context, pod *corev1.Pod) (Outcome, error) {
	sent, err := f.settle(ctx)
	if err != nil {
		return Outcome{}, err
	}
	own, err := f.lab.replica(ctx, f.Collector, pod)
	if err != nil {
		return Outcome{}, err
	}
	o := Outcome{Begin: f.Begin, End: own.State, Received: own.Outputs}
	if f.fleet {
		return o, f.judgeFleet(ctx, sent, &o)
	}
	if f.Others == nil {
		o.Verdict = load.Judge(sent, own.State, own.Outputs)
		return o, nil
	}
	replicas := []load.Replica{own}
	for _, r := range f.Others {
		other, err := f.lab.replica(ctx, r.Collector, r.Pod)
		if err != nil {
			return Outcome{}, err
		}
		replicas, o.Others = append(replicas, other), append(o.Others, other.State)
	}
	o.Verdict = load.JudgeReplicas(sent, replicas...)
	return o, nil
}

// settle stops the load and waits until everything is counted, or nothing comes
// any more.
func (f *Flow) settle(ctx context.Context) (load.Sent, error) {
	sent, err := f.Generator.Finish(ctx)
	if err != nil {
		return nil, err
	}
	collectors := []*load.Collector{f.Collector}
	for _, r := range f.Others {
		collectors = append(collectors, r.Collector)
	}
	return sent, load.Settle(ctx, sent.Total(), quiet, patience, collectors...)
}

// replica is what the counter in a pod holds and has put out.
func (l *Lab) replica(ctx context.Context, c *load.Collector, pod *corev1.Pod) (r load.Replica, err error) {
	if r.Outputs, err = c.Outputs(); err != nil {
		return r, err
	}
	r.State, err = l.State(ctx, pod)
	return r, err
}

// Close ends the load, if it still runs, and removes the counter.
func (f *Flow) Close(ctx context.Context) error {
	f.Generator.Stop()
	f.Collector.Close()
	var err error
	for _, r := range f.Others {
		r.Collector.Close()
		err = errors.Join(err, r.Delete(ctx))
	}
	err = errors.Join(err, f.Delete(ctx), load.DeleteExchange(f.lab.BrokerURL, f.exchange()))
	if err != nil {
		return errors.Join(errors.New("remove the counter"), err)
	}
	return nil
}

// SourceGone waits until the pod that the counter began in is gone.
func (f *Flow) SourceGone(ctx context.Context) error {
	return Until(ctx, f.lab, f.Pod, &corev1.PodList{}, func(p *corev1.Pod) (bool, error) {
		return p == nil || p.UID != f.Pod.UID, nil
	})
}
