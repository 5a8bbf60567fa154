// Command scale measures the manager alone: N pods on simulated nodes move at once, for
// several N. API server, etcd, RabbitMQ and the manager are the real programs, each a
// process of its own; nodes, registry and the services are simulated by this one, which
// speaks to them through the API server, HTTP and AMQP. It writes tables as Markdown and
// CSV and curves as SVG. `make eval-scale` runs it, docs/eval/scale.md says what is measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// series is a way in which the manager is set up.
type series struct {
	Name  string
	Flags []string
	most  int // migrations at once that it is measured with; 0: as many as there are
}

// allSeries are what is measured.
func allSeries() []series {
	return []series{
		{Name: "default"},
		{Name: "raised", Flags: []string{"--max-migrations=100", "--max-migrations-per-node=0", "--workers=20"}},
	}
}

type options struct {
	bin, assets, chart, out, commit, title string
	sizes                                  []int
	series                                 []series
	nodes                                  int
	bound                                  float64
	stalled                                time.Duration
	profile                                bool
}

func parse() (options, error) {
	var o options
	sizes := flag.String("n", "10,100,300,1000", "how `many` are moved at once, case by case")
	names := flag.String("series", "default,raised", "how the manager is set up: `names` with commas between, each with the most that it is measured with, as default:100, or all")
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of the programs")
	flag.StringVar(&o.assets, "assets", os.Getenv("KUBEBUILDER_ASSETS"), "`directory` with kube-apiserver and etcd: that of bin/lab envtest-assets")
	flag.StringVar(&o.chart, "chart", "charts/ms2m", "`directory` of the chart, for its CRDs")
	flag.StringVar(&o.out, "out", "scale", "`directory` of the report")
	flag.StringVar(&o.commit, "commit", "unknown", "what is measured")
	flag.StringVar(&o.title, "title", "The manager alone", "of the report")
	flag.IntVar(&o.nodes, "nodes", 20, "`number` of nodes")
	flag.Float64Var(&o.bound, "bound", 1.5, "fail if the API calls of a migration are more than `times` those among the fewest")
	flag.DurationVar(&o.stalled, "stalled", 3*time.Minute, "give up if nothing has ended for so long")
	flag.BoolVar(&o.profile, "profile", false, "keep a CPU profile of the manager of each case, of its first half minute, and one of its heap at the end")
	flag.Parse()
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-n: %q is no number of migrations", text)
		}
		o.sizes = append(o.sizes, n)
	}
	slices.Sort(o.sizes)
	for text := range strings.SplitSeq(*names, ",") {
		name, most, bounded := strings.Cut(text, ":")
		i := slices.IndexFunc(allSeries(), func(s series) bool { return s.Name == name })
		if i < 0 {
			return o, fmt.Errorf("-series: there is no %q", name)
		}
		one := allSeries()[i]
		if bounded {
			var err error
			if one.most, err = strconv.Atoi(most); err != nil || one.most < 1 {
				return o, fmt.Errorf("-series: %q is no number of migrations", most)
			}
		}
		o.series = append(o.series, one)
	}
	switch {
	case flag.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", flag.Arg(0))
	case o.nodes < 2:
		return o, errors.New("-nodes must be 2 or more")
	case o.bound <= 0:
		return o, errors.New("-bound must be above 0")
	case o.assets == "":
		return o, errors.New("-assets, or KUBEBUILDER_ASSETS, must name the directory that bin/lab envtest-assets prints")
	}
	return o, nil
}

func main() {
	o, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(2)
	}
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := measureAll(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// measureAll makes every case, and a report of those that came to their end.
func measureAll(ctx context.Context, o options) (err error) {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := report{Title: o.title, Commit: o.commit, Nodes: o.nodes, Machine: machine(), Began: time.Now()}
	return errors.Join(w.measureCases(ctx, &r), r.check(o.bound))
}

// measureCases makes one case after the other, up to one that fails; the report is there
// after each: the last take long.
func (w *world) measureCases(ctx context.Context, r *report) error {
	for _, n := range w.sizes {
		for _, s := range w.series {
			if s.most > 0 && n > s.most {
				continue
			}
			c, err := w.measure(ctx, s, n)
			if err != nil {
				return fmt.Errorf("%d, %s: %w", n, s.Name, err)
			}
			fmt.Println(c)
			r.Cases = append(r.Cases, c)
			if err := r.write(w.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes the files of the report.
func (r report) write(dir string) error {
	files := map[string]func(io.Writer) error{"scale.md": r.markdown, "scale.csv": r.csv}
	for name, plot := range r.plots() {
		files[name] = plot.WriteSVG
	}
	var errs []error
	for name, write := range files {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		errs = append(errs, write(f), f.Close())
	}
	return errors.Join(errs...)
}
