package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/load"
)

// Cold is a counter that was moved without MS2M: stopped, started empty on another
// node, and refilled by who kept every message that it had ever been sent.
type Cold struct {
	Pod      *corev1.Pod   // the new one
	Memory   uint64        // messages that the counter held when it was told to stop: lost, but for the refill
	Stop     time.Duration // until its pod was gone
	Start    time.Duration // from then until the new pod served
	Refill   time.Duration // from then until the new pod held what the old one did
	Begun    time.Time
	Refilled time.Time
}

// Cold moves the counter the cold way. The producers are held meanwhile: messages that
// came before the refill would be counted out of order.
func (f *Flow) Cold(ctx context.Context, node string) (*Cold, error) {
	c := &Cold{Begun: time.Now()}
	if err := f.Generator.Hold(ctx); err != nil {
		return nil, err
	}
	state, err := f.lab.State(ctx, f.Pod)
	if err != nil {
		return nil, err
	}
	c.Memory = state.Count
	if err := f.lab.Client.Delete(ctx, f.Pod); err != nil {
		return nil, err
	}
	if err := Gone(ctx, f.lab, f.Pod, &corev1.PodList{}); err != nil {
		return nil, err
	}
	gone := time.Now()
	c.Stop = gone.Sub(c.Begun)
	// What stands in the queue is part of the refill.
	err = errors.Join(load.DeleteQueues(f.lab.BrokerURL, f.Queue),
		load.DeclareQueues(f.lab.BrokerURL, f.Queues, f.Queue),
		load.DeclareExchange(f.lab.BrokerURL, f.exchange(), f.Queue))
	if err != nil {
		return nil, err
	}
	f.Node = node
	pod := f.pod()
	if err := f.lab.Client.Create(ctx, pod); err != nil {
		return nil, err
	}
	if c.Pod, err = f.lab.PodReady(ctx, client.ObjectKeyFromObject(pod)); err != nil {
		return nil, err
	}
	f.Pod = c.Pod
	ready := time.Now()
	c.Start = ready.Sub(gone)
	before, confirmed := f.Collector.Count(), f.Generator.Confirmed()
	if err := f.Generator.Again(ctx); err != nil {
		return nil, fmt.Errorf("refill: %w", err)
	}
	if err := f.Counted(ctx, before+confirmed); err != nil {
		return nil, fmt.Errorf("refill: %w", err)
	}
	c.Refilled = time.Now()
	c.Refill = c.Refilled.Sub(ready)
	f.Generator.Release()
	return c, nil
}

// FinishCold stops the load, waits until everything is counted, and judges the new
// counter by what it put out itself. What the stopped one had put out before is
// doubled by the refill.
func (f *Flow) FinishCold(ctx context.Context) (Outcome, error) {
	sent, err := f.settle(ctx)
	if err != nil {
		return Outcome{}, err
	}
	own, err := f.lab.replica(ctx, f.Collector, f.Pod)
	if err != nil {
		return Outcome{}, err
	}
	o := Outcome{Begin: f.Begin, End: own.State, Received: own.Outputs}
	var mine []load.Output
	for _, out := range own.Outputs {
		if out.Mark == own.State.Mark {
			mine = append(mine, out)
		}
	}
	o.Verdict = load.Judge(sent, own.State, mine)
	o.Outputs.Doubled += uint64(len(own.Outputs) - len(mine))
	return o, nil
}
