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
}

// Flow is a counter under load.
type Flow struct {
	*Counter
	Generator *load.Generator
	Collector *load.Collector
	Begin     ledger.State // of the counter when it had counted nothing
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
	return &Flow{
		Counter:   c,
		Begin:     begin,
		Collector: load.Collect(ctx, l.BrokerURL, c.Outputs),
		Generator: load.Start(ctx, load.Config{
			URL: l.BrokerURL, Queue: c.Queue, Producers: cfg.Producers, Rate: cfg.Rate}),
	}, nil
}

// Counted waits until the counter has put out at least n messages.
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
		missing := n - int(confirmed-min(confirmed, f.Collector.Count()))
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
}

// SameMemory reports whether the memory at the end is the one at the beginning.
func (o Outcome) SameMemory() bool {
	return o.Begin.Mark == o.End.Mark && o.Begin.StartedAt.Equal(o.End.StartedAt)
}

// Finish stops the load, waits until everything is counted, and judges the
// counter that runs in the pod now.
func (f *Flow) Finish(ctx context.Context, pod *corev1.Pod) (Outcome, error) {
	sent, err := f.Generator.Finish(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if err := f.Collector.Settle(ctx, sent.Total(), quiet, patience); err != nil {
		return Outcome{}, err
	}
	outputs, err := f.Collector.Outputs()
	if err != nil {
		return Outcome{}, err
	}
	end, err := f.lab.State(ctx, pod)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Verdict: load.Judge(sent, end, outputs), Begin: f.Begin, End: end, Received: outputs}, nil
}

// Close ends the load, if it still runs, and removes the counter.
func (f *Flow) Close(ctx context.Context) error {
	f.Generator.Stop()
	f.Collector.Close()
	if err := f.Delete(ctx); err != nil {
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
