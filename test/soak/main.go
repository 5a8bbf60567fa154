// Command soak moves one counter back and forth between the nodes of the lab that
// it runs in, under load, with faults drawn at random, and tells in the end whether
// a message was lost, doubled or reordered in all that time, and whether anything
// has grown: memory, goroutines, file descriptors, queues, disk. `make soak` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// options say what is soaked.
type options struct {
	chart     string
	moves     int
	seed      uint64
	faults    float64
	rate      float64
	producers int
	queues    load.Kind
	timeout   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.chart, "chart", "charts/ms2m", "`directory` of the chart to install")
	flag.IntVar(&o.moves, "moves", 1000, "`number` of moves")
	flag.Uint64Var(&o.seed, "seed", 0, "of what is drawn at random; 0: one is drawn")
	flag.Float64Var(&o.faults, "faults", 0.5, "`share` of the moves that a fault happens in")
	flag.Float64Var(&o.rate, "rate", 50, "`messages` per second")
	flag.IntVar(&o.producers, "producers", 3, "`number` of producers")
	flag.TextVar(&o.queues, "queues", load.Classic, "`kind` of the queues: classic, quorum, quorum-unlimited")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Minute, "bound on each move")
	flag.Parse()
	if o.moves < 1 || o.faults < 0 || o.faults > 1 {
		fmt.Fprintln(os.Stderr, "soak: -moves must be 1 or more, -faults from 0 to 1")
		os.Exit(2)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	lab, err := harness.Open()
	if err != nil {
		return err
	}
	if err := lab.Deploy(ctx, o.chart); err != nil {
		return fmt.Errorf("deploy MS2M: %w", err)
	}
	flow, err := lab.StartFlow(ctx, harness.FlowConfig{
		CounterConfig: harness.CounterConfig{
			Namespace: "ms2m-soak", Name: "counter", Work: time.Millisecond, Queues: o.queues},
		Rate: o.rate, Producers: o.producers,
	})
	if err != nil {
		return fmt.Errorf("start the counter: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, flow.Close(ctx))
	}()
	s := &soak{
		options: o, lab: lab, flow: flow, pod: flow.Pod, begin: time.Now(),
		random: rand.New(rand.NewPCG(o.seed, 0)), // to be drawn again
		tally:  make(map[kind]*row),
	}
	fmt.Printf("%d moves of a counter on %s queues, %.0f messages/s, faults in %.0f %% of them, seed %d\n",
		o.moves, o.queues, o.rate, 100*o.faults, o.seed)
	return s.run(ctx)
}
