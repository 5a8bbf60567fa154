// Command eval measures the ways of moving a service to another node, in the lab that
// it runs in: the same service under the same load, the ways by turns in an order drawn
// by a seed. It writes every run as CSV, tables as Markdown and plots as SVG into a
// directory. `make eval` runs it, docs/eval.md says what is measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ms2m.dev/ms2m/test/eval/report"
)

// list is a flag of values with commas between.
type list[T any] struct {
	values []T
	parse  func(string) (T, error)
}

func (l *list[T]) String() string {
	if l == nil {
		return ""
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(l.values), " ", ","), "[]")
}

func (l *list[T]) Set(text string) error {
	l.values = nil
	if text == "" {
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		v, err := l.parse(one)
		if err != nil {
			return err
		}
		l.values = append(l.values, v)
	}
	return nil
}

func rate(text string) (float64, error) {
	r, err := strconv.ParseFloat(text, 64)
	if err == nil && !(r > 0 && r <= 10_000) {
		err = errors.New("a rate must be above 0 and at most 10000 messages per second")
	}
	return r, err
}

func way(text string) (report.Way, error) {
	if !slices.Contains(report.Ways(), report.Way(text)) {
		return "", fmt.Errorf("%q is no way: %v", text, report.Ways())
	}
	return report.Way(text), nil
}

// options say what is measured.
type options struct {
	chart, out, commit, title string
	rates, slow               list[float64]
	ways                      list[report.Way]
	repeats                   int
	seed                      uint64
	ballast                   int
	cutoff                    int
	warm, after, timeout      time.Duration
	floor                     int
}

// The consumers of the published experiments.
const (
	quickWork = 10 * time.Millisecond
	slowWork  = 50 * time.Millisecond
)

// leastGap is a gap that is summed up: shorter ones there are without a migration.
const leastGap = 100 * time.Millisecond

func parse() (options, error) {
	o := options{
		rates: list[float64]{[]float64{10, 20, 40, 60, 80, 100, 120}, rate},
		slow:  list[float64]{[]float64{1, 4, 7, 10, 13, 16, 19}, rate},
		ways:  list[report.Way]{report.Ways(), way},
	}
	small := flag.Bool("small", false, "two rates, one repetition, unless said otherwise")
	flag.StringVar(&o.chart, "chart", "charts/ms2m", "`directory` of the chart to install")
	flag.StringVar(&o.out, "out", "eval", "`directory` of the report")
	flag.StringVar(&o.commit, "commit", "unknown", "what is measured")
	flag.StringVar(&o.title, "title", "Evaluation", "of the report")
	flag.Var(&o.rates, "rates", "`messages` per second for a consumer of 10 ms")
	flag.Var(&o.slow, "slow", "`messages` per second for a consumer of 50 ms")
	flag.Var(&o.ways, "ways", "which `ways`")
	flag.IntVar(&o.repeats, "repeats", 10, "`number` of repetitions")
	flag.Uint64Var(&o.seed, "seed", 0, "of the order; 0: one is drawn")
	flag.IntVar(&o.ballast, "ballast", 24, "memory that the service carries, in `MiB`")
	flag.IntVar(&o.cutoff, "cutoff", 120, "replayCutoffSeconds, in `seconds`")
	flag.DurationVar(&o.warm, "warm", 5*time.Second, "load before each move")
	flag.DurationVar(&o.after, "after", 3*time.Second, "load after it")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "bound on each run")
	flag.IntVar(&o.floor, "floor", 3, "`number` of measurements of the floor in each round")
	flag.Parse()
	if *small {
		said := make(map[string]bool)
		flag.Visit(func(f *flag.Flag) { said[f.Name] = true })
		for name, value := range map[string]string{"rates": "20,80", "slow": "", "repeats": "1"} {
			if !said[name] {
				if err := flag.Set(name, value); err != nil {
					return o, err
				}
			}
		}
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	switch {
	case flag.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", flag.Arg(0))
	case o.repeats < 1 || o.floor < 1:
		return o, errors.New("-repeats and -floor must be 1 or more")
	case o.ballast < 0 || o.ballast > 4096:
		return o, errors.New("-ballast must be from 0 to 4096")
	case o.cutoff < 1 || o.cutoff > 86_400:
		return o, errors.New("-cutoff must be from 1 to 86400")
	case len(o.cases()) == 0:
		return o, errors.New("nothing to measure: -rates and -slow, or -ways, are empty")
	}
	return o, nil
}

// cases are what is measured in each round.
func (o options) cases() []report.Case {
	var all []report.Case
	for _, w := range o.ways.values {
		for _, r := range o.rates.values {
			all = append(all, report.Case{Way: w, Rate: r, Work: quickWork})
		}
		for _, r := range o.slow.values {
			all = append(all, report.Case{Way: w, Rate: r, Work: slowWork})
		}
	}
	return all
}

// order is every case in every round, the rounds one after the other, each shuffled:
// what happens on the machine meanwhile hits the ways alike.
func (o options) order() [][]report.Case {
	random := rand.New(rand.NewPCG(o.seed, 0))
	var rounds [][]report.Case
	for range o.repeats {
		round := o.cases()
		random.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		rounds = append(rounds, round)
	}
	return rounds
}

func main() {
	o, err := parse()
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
