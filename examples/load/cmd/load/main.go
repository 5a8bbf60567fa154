// Command load sends numbered messages to a counter, waits until it has
// counted them, and judges. Its exit status is 0 only if nothing was lost,
// doubled or reordered.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ms2m.dev/ms2m/examples/load"
)

func main() {
	var cfg load.Config
	flag.StringVar(&cfg.URL, "url", os.Getenv("AMQP_URL"), "AMQP `URL` of the broker")
	flag.StringVar(&cfg.Queue, "queue", "counter.in", "`queue` that the counter counts")
	flag.IntVar(&cfg.Producers, "producers", 3, "`number` of producers")
	flag.Float64Var(&cfg.Rate, "rate", 100, "`messages` per second, of all producers together")
	flag.IntVar(&cfg.Sizes.Min, "body", 64, "`bytes` of a body, at least")
	flag.IntVar(&cfg.Sizes.Max, "body-max", 0, "`bytes` of a body, at most; 0: all are of one size")
	backlog := flag.Int("backlog", 0, "`messages` sent at once at the beginning")
	duration := flag.Duration("for", 10*time.Second, "how long to send")
	outputs := flag.String("outputs", "counter.out", "`queue` of the counter's outputs")
	counter := flag.String("counter", "http://127.0.0.1:8080", "`URL` of the counter")
	var kind load.Kind
	flag.TextVar(&kind, "queues", load.Classic, "`kind` of the queues that are declared: classic, quorum, quorum-unlimited")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	verdict, err := run(ctx, cfg, *backlog, *duration, *outputs, *counter, kind)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	fmt.Printf("sent %d, counted %d, chain equal: %t\n", verdict.Sent, verdict.Counted, verdict.ChainEqual)
	fmt.Printf("memory:  %v\noutputs: %v\n", verdict.State, verdict.Outputs)
	for _, p := range verdict.Problems {
		fmt.Println(p)
	}
	fmt.Println("verdict:", verdict)
	if !verdict.OK() {
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg load.Config, backlog int, d time.Duration, outputs, counter string, kind load.Kind) (load.Verdict, error) {
	if err := load.DeclareQueues(cfg.URL, kind, cfg.Queue, outputs); err != nil {
		return load.Verdict{}, err
	}
	before, err := load.ReadState(ctx, counter)
	if err != nil {
		return load.Verdict{}, err
	}
	if before.Count != 0 {
		return load.Verdict{}, errors.New("the counter has counted messages of somebody else: start a new one")
	}
	collector := load.Collect(ctx, cfg.URL, outputs)
	defer collector.Close()

	generator := load.Start(ctx, cfg)
	generator.Burst(backlog)
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	sent, err := generator.Finish(ctx)
	if err != nil {
		return load.Verdict{}, err
	}
	if err := load.Settle(ctx, sent.Total(), time.Second, 20*time.Second, collector); err != nil {
		return load.Verdict{}, err
	}
	received, err := collector.Outputs()
	if err != nil {
		return load.Verdict{}, err
	}
	state, err := load.ReadState(ctx, counter)
	if err != nil {
		return load.Verdict{}, err
	}
	return load.Judge(sent, state, received), nil
}
