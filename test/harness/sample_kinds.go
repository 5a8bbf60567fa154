package harness

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"ms2m.dev/ms2m/examples/dispatch/customers"
	"ms2m.dev/ms2m/examples/dispatch/desk"
	"ms2m.dev/ms2m/examples/exchange/book"
	"ms2m.dev/ms2m/examples/exchange/market"
	"ms2m.dev/ms2m/examples/load"
)

// Drive is the load on a sample and its judge.
type Drive interface {
	// Count is how many results have come out so far.
	Count() uint64
	// Judge ends the load, waits until all of it is done, and judges the service at base.
	Judge(ctx context.Context, base string) (Judgement, error)
	Close()
}

// sampleKind is what a sample's manifests do not say.
type sampleKind struct {
	image  func(Images) string
	queues []string // to be declared
	drive  func(ctx context.Context, url string) Drive
}

// sampleKinds are the samples by the names of their directories.
var sampleKinds = map[string]sampleKind{
	"counter": {
		image:  func(i Images) string { return i.Counter },
		queues: []string{"counter.in", "counter.out"},
		drive: func(ctx context.Context, url string) Drive {
			return counterDrive{
				generator: load.Start(ctx, load.Config{URL: url, Queue: "counter.in", Rate: sampleRate}),
				Collector: load.Collect(ctx, url, "counter.out"),
			}
		},
	},
	"dispatch": {
		image:  func(i Images) string { return i.Dispatch },
		queues: customers.Named("dispatch").All(),
		drive: func(ctx context.Context, url string) Drive {
			queues := customers.Named("dispatch")
			return dispatchDrive{
				load:    customers.Start(ctx, url, queues, sampleRate),
				Outputs: customers.Collect(ctx, url, queues),
			}
		},
	},
	"exchange": {
		image:  func(i Images) string { return i.Exchange },
		queues: []string{"exchange.commands", "exchange.reports"},
		drive: func(ctx context.Context, url string) Drive {
			return exchangeDrive{
				generator: market.Trade(ctx, url, "exchange.commands", 4, sampleRate),
				Collector: market.Collect(ctx, url, "exchange.reports"),
			}
		},
	},
}

// sampleRate is the messages per second.
const sampleRate = 100

// Samples are the names of all samples.
func Samples() []string { return slices.Sorted(maps.Keys(sampleKinds)) }

type counterDrive struct {
	generator *load.Generator
	*load.Collector
}

func (d counterDrive) Judge(ctx context.Context, base string) (Judgement, error) {
	sent, err := d.generator.Finish(ctx)
	if err != nil {
		return Judgement{}, err
	}
	if err := load.Settle(ctx, sent.Total(), quiet, patience, d.Collector); err != nil {
		return Judgement{}, err
	}
	outputs, err := d.Outputs()
	if err != nil {
		return Judgement{}, err
	}
	state, err := load.ReadState(ctx, base)
	if err != nil {
		return Judgement{}, err
	}
	v := load.Judge(sent, state, outputs)
	return Judgement{Verdict: fmt.Sprintf("%v (of %d messages)", v, v.Sent), OK: v.OK(), Problems: v.Problems}, nil
}

func (d counterDrive) Close() {
	d.generator.Stop()
	d.Collector.Close()
}

type exchangeDrive struct {
	generator *load.Generator
	*market.Collector
}

func (d exchangeDrive) Judge(ctx context.Context, base string) (Judgement, error) {
	sent, err := d.generator.Finish(ctx)
	if err != nil {
		return Judgement{}, err
	}
	if err := load.Settle(ctx, sent.Total(), quiet, patience, d.Collector); err != nil {
		return Judgement{}, err
	}
	reports, err := d.Reports()
	if err != nil {
		return Judgement{}, err
	}
	var state book.State
	if err := load.Read(ctx, base+"/state", &state); err != nil {
		return Judgement{}, err
	}
	commands := make(map[string]uint64, len(sent))
	for trader, bodies := range sent {
		commands[trader] = uint64(len(bodies))
	}
	v := market.Judge(commands, reports, state)
	return Judgement{Verdict: v.String(), OK: v.OK(), Problems: v.Problems}, nil
}

func (d exchangeDrive) Close() {
	d.generator.Stop()
	d.Collector.Close()
}

type dispatchDrive struct {
	load *customers.Load
	*customers.Outputs
}

func (d dispatchDrive) Judge(ctx context.Context, base string) (Judgement, error) {
	sent, err := d.load.Finish(ctx)
	if err != nil {
		return Judgement{}, err
	}
	if err := load.Settle(ctx, sent.Total(), quiet, patience, d.Outputs); err != nil {
		return Judgement{}, err
	}
	var state desk.State
	if err := load.Read(ctx, base+"/state", &state); err != nil {
		return Judgement{}, err
	}
	v, err := d.Outputs.Judge(sent, state)
	return Judgement{Verdict: v.String(), OK: v.OK(), Problems: v.Problems}, err
}

func (d dispatchDrive) Close() {
	d.load.Stop()
	d.Outputs.Close()
}
