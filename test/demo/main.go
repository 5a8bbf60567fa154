// Command demo shows a migration: it deploys MS2M in the lab that it runs in,
// moves a counter that is under load to another node, and tells whether a
// message was lost, doubled or reordered on the way. `make demo` runs it.
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

	"k8s.io/apimachinery/pkg/util/rand"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// options say what is shown.
type options struct {
	chart     string
	runs      int
	rate      float64
	producers int
	backlog   int
	work      time.Duration
	ballast   int
	queues    load.Kind
	outside   time.Duration
	timeout   time.Duration
	keep      bool
}

func main() {
	var o options
	flag.StringVar(&o.chart, "chart", "charts/ms2m", "`directory` of the chart to install")
	flag.IntVar(&o.runs, "runs", 1, "`number` of migrations, each of a fresh counter")
	flag.Float64Var(&o.rate, "rate", 100, "`messages` per second")
	flag.IntVar(&o.producers, "producers", 3, "`number` of producers")
	flag.IntVar(&o.backlog, "backlog", 1000, "`messages` in the queue when the migration begins")
	flag.DurationVar(&o.work, "work", 2*time.Millisecond, "time that a message takes")
	flag.IntVar(&o.ballast, "ballast", 0, "memory that the counter carries, in `MiB`")
	flag.TextVar(&o.queues, "queues", load.Classic, "`kind` of the queues: classic, quorum, quorum-unlimited")
	flag.DurationVar(&o.outside, "outside", 0, "time of a call to the outside that each message makes, and that a replay does not repeat")
	flag.DurationVar(&o.timeout, "timeout", 3*time.Minute, "bound on each migration")
	flag.BoolVar(&o.keep, "keep", false, "leave counter and migration as they are at the end")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var errVerdict = errors.New("the migration is not good")

func run(ctx context.Context, o options) error {
	lab, err := harness.Open()
	if err != nil {
		return err
	}
	p := newProgress()
	p.line("deploying MS2M")
	if err := lab.Deploy(ctx, o.chart); err != nil {
		return fmt.Errorf("deploy MS2M: %w", err)
	}
	p.line("manager and agents are ready")
	series := rand.String(4) // beside what an earlier demo may have left
	results := make([]result, 0, o.runs)
	for i := range o.runs {
		if o.runs > 1 {
			p.line("migration %d of %d", i+1, o.runs)
		}
		r := show(ctx, lab, o, fmt.Sprintf("counter-%s-%d", series, i+1), p)
		results = append(results, r)
		if r.err != nil {
			fmt.Println("error:", r.err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(results) == 1 {
		printOne(os.Stdout, results[0])
	} else {
		printAll(os.Stdout, results)
	}
	for _, r := range results {
		if !r.good() {
			return errVerdict
		}
	}
	return nil
}

// show moves one fresh counter from node-a to node-b.
func show(ctx context.Context, lab *harness.Lab, o options, name string, p *progress) (r result) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done in %v", o.timeout))
	defer cancel()
	flow, err := lab.StartFlow(ctx, harness.FlowConfig{
		CounterConfig: harness.CounterConfig{
			Namespace: "ms2m-demo", Name: name, Work: o.work, BallastMB: o.ballast, Queues: o.queues, Outside: o.outside},
		Rate: o.rate, Producers: o.producers,
	})
	if err != nil {
		return result{err: fmt.Errorf("start the counter: %w", err)}
	}
	if !o.keep {
		defer func() { r.err = errors.Join(r.err, remove(lab, flow)) }()
	}
	p.line("%s runs on %s; %d producers send %.0f messages/s", name, flow.Node, o.producers, o.rate)
	r.Move, r.err = flow.Move(ctx, harness.MoveConfig{
		Target:  harness.NodeB,
		Warm:    uint64(2 * o.rate),
		Backlog: o.backlog,
		After:   uint64(o.rate),
		Tell:    p.tell(flow),
	})
	if r.err == nil {
		r.err = flow.SourceGone(ctx)
	}
	return r
}

// remove cleans up after a migration, also after one that the time was up for or
// that was interrupted.
func remove(lab *harness.Lab, flow *harness.Flow) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(lab.DeleteMigration(ctx, flow.Migration(harness.NodeB)), flow.Close(ctx))
}
