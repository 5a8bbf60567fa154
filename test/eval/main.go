// Command eval measures the ways of moving a service to another node, in the lab that
// it runs in: the same service under the same load, the ways by turns in an order drawn
// by a seed. It writes every run as CSV, tables as Markdown and plots as SVG into a
// directory. `make eval` runs it, docs/eval.md says what is measured. With -check it
// makes a small evaluation and fails when a ratio is beyond its bound: `make eval-check`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"ms2m.dev/ms2m/test/eval/report"
)

// options say what is measured.
type options struct {
	chart, out, commit, title string
	rates, slow, fast         list[float64]
	memory, scale             list[int]
	ways, more                list[report.Way]
	repeats                   int
	seed                      uint64
	ballast                   int
	cutoff                    int
	warm, after, timeout      time.Duration
	floor                     int
	active                    int
	check, token              bool
}

// leastGap is a gap that is summed up: shorter ones there are without a migration.
const leastGap = 100 * time.Millisecond

// experiments are the flags that say what is tried. Who says one of them wants only that.
var experiments = []string{"rates", "slow", "memory", "fast", "scale"}

// Smaller evaluations, by flag: what is said otherwise holds.
var (
	small = map[string]string{"rates": "20,80", "memory": "256", "fast": "1000", "scale": "10", "repeats": "1"}
	check = map[string]string{
		"rates": "20", "memory": "256", "ways": "shadow-pod,shadow-statefulset", "repeats": "3", "floor": "2", "warm": "2s", "after": "1s",
	}
)

func parse(arguments []string) (options, error) {
	o := options{
		rates:  list[float64]{[]float64{10, 20, 40, 60, 80, 100, 120}, rate},
		slow:   list[float64]{[]float64{1, 4, 7, 10, 13, 16, 19}, rate},
		fast:   list[float64]{[]float64{100, 200, 500, 1000, 2000, 5000, 10_000}, rate},
		memory: list[int]{[]int{0, 64, 256, 1024}, number("a size of the memory", 0, 4096)},
		scale:  list[int]{[]int{1, 10, 50}, number("a number of services", 1, 100)},
		ways:   list[report.Way]{report.Ways(), way},
		more:   list[report.Way]{[]report.Way{report.Pod}, way},
	}
	f := flag.NewFlagSet("eval", flag.ContinueOnError)
	smaller := f.Bool("small", false, "a few cases, one repetition, unless said otherwise")
	f.BoolVar(&o.check, "check", false, "some cases, three repetitions, unless said otherwise; fail if a ratio is beyond its bound")
	f.StringVar(&o.chart, "chart", "charts/ms2m", "`directory` of the chart to install")
	f.StringVar(&o.out, "out", "eval", "`directory` of the report")
	f.StringVar(&o.commit, "commit", "unknown", "what is measured")
	f.StringVar(&o.title, "title", "Evaluation", "of the report")
	f.Var(&o.rates, "rates", "`messages` per second for a consumer of 10 ms")
	f.Var(&o.slow, "slow", "`messages` per second for a consumer of 50 ms")
	f.Var(&o.memory, "memory", "memory that the service carries, in `MiB`, at 20 messages per second")
	f.Var(&o.fast, "fast", "`messages` per second for a consumer without work, until the broker takes no more")
	f.Var(&o.scale, "scale", "`numbers` of services that are moved at once, each at 3 messages per second")
	f.Var(&o.ways, "ways", "which `ways`, with -rates and -slow")
	f.Var(&o.more, "more-ways", "which `ways`, with -memory and -fast")
	f.IntVar(&o.repeats, "repeats", 10, "`number` of repetitions")
	f.Uint64Var(&o.seed, "seed", 0, "of the order; 0: one is drawn")
	f.IntVar(&o.ballast, "ballast", 24, "memory that the service carries, in `MiB`, but for -memory")
	f.IntVar(&o.active, "active", 10, "`number` of migrations that the manager lets be active at a time; 0: no limit")
	f.BoolVar(&o.token, "api-token", false, "the services' pods mount a token for the API, as pods do unless told otherwise")
	f.IntVar(&o.cutoff, "cutoff", 120, "replayCutoffSeconds, in `seconds`")
	f.DurationVar(&o.warm, "warm", 5*time.Second, "load before each move")
	f.DurationVar(&o.after, "after", 3*time.Second, "load after it")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "bound on each run")
	f.IntVar(&o.floor, "floor", 3, "`number` of measurements of the floor in each round")
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	if *smaller && o.check {
		return o, errors.New("-small and -check are two sizes: say one")
	}
	var preset map[string]string
	switch {
	case *smaller:
		preset = small
	case o.check:
		preset = check
	}
	if err := fill(f, preset); err != nil {
		return o, err
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", f.Arg(0))
	case o.repeats < 1 || o.floor < 1:
		return o, errors.New("-repeats and -floor must be 1 or more")
	case o.ballast < 0 || o.ballast > 4096:
		return o, errors.New("-ballast must be from 0 to 4096")
	case o.active < 0:
		return o, errors.New("-active must be 0, for no limit, or more")
	case o.cutoff < 1 || o.cutoff > 86_400:
		return o, errors.New("-cutoff must be from 1 to 86400")
	case len(o.cases()) == 0:
		return o, errors.New("nothing to measure: -rates, -slow, -memory, -fast and -scale, or their ways, are empty")
	}
	return o, nil
}

// fill sets the flags that were not said: to what a smaller evaluation has, if it is
// one, and to nothing the experiments beside those that were said.
func fill(f *flag.FlagSet, preset map[string]string) error {
	said := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { said[f.Name] = true })
	some := slices.ContainsFunc(experiments, func(name string) bool { return said[name] })
	values := make(map[string]string)
	maps.Copy(values, preset)
	for _, name := range experiments {
		switch {
		case some:
			values[name] = ""
		case preset != nil:
			values[name] = preset[name]
		}
	}
	for name, value := range values {
		if said[name] {
			continue
		}
		if err := f.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := evaluate(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}
