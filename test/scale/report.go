package main

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"ms2m.dev/ms2m/test/eval/measure"
	plots "ms2m.dev/ms2m/test/eval/report"
)

// result is what a case has shown. Counts and CPU time are the manager's, from before the
// first migration is made until the last finalizer is gone.
type result struct {
	Series     string
	N          int
	Load       string          // of the machine when it began
	Took       time.Duration   // until all were Completed
	Each       []time.Duration // of each migration from its creation to Completed, sorted
	Active     []time.Duration // of each from its beginning to its end, by the manager's clock, sorted
	Calls      map[string]int  // to the API server, by "verb resource"
	Requests   float64         // the same and the watches, as the manager counts them
	CPU        time.Duration
	Others     map[string]time.Duration // CPU time of the other programs, by name
	Reconciles float64
	Idle, Peak float64 // resident memory in bytes, before and at most
	Depth      float64 // the most keys that were seen in the work queue
	Wait       float64 // a key's time in it, mean, in seconds
}

func (r result) String() string {
	return fmt.Sprintf("%4d %-8s %6.1f s, %5.1f calls, %5.1f reconciles, %5.1f ms of CPU each, %4.0f MiB at most, active %v at the median, others %v",
		r.N, r.Series, r.Took.Seconds(), r.calls(), r.per(r.Reconciles), r.per(millis(r.CPU)), mebibytes(r.Peak), measure.Quantile(r.Active, 0.5).Round(time.Millisecond), r.Others)
}

func (r result) per(sum float64) float64 { return sum / float64(r.N) }

// calls are those for one migration.
func (r result) calls() float64 {
	sum := 0
	for what, n := range r.Calls {
		if !timed(what) {
			sum += n
		}
	}
	return r.per(float64(sum))
}

// timed are calls that come with time, not with migrations: the leader's.
func timed(what string) bool { return strings.HasSuffix(what, " leases") }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func mebibytes(b float64) float64    { return b / (1 << 20) }

// column is a figure of a case, for tables, CSV and curves.
type column struct {
	name, unit string
	of         func(result) float64
	digits     int
}

func quantile(of func(result) []time.Duration, q float64) func(result) float64 {
	return func(r result) float64 { return measure.Quantile(of(r), q).Seconds() }
}

func each(r result) []time.Duration   { return r.Each }
func active(r result) []time.Duration { return r.Active }

var columns = []column{
	{"all Completed", "s", func(r result) float64 { return r.Took.Seconds() }, 1},
	{"migrations per second", "", func(r result) float64 { return float64(r.N) / r.Took.Seconds() }, 2},
	{"one, median", "s", quantile(each, 0.5), 2},
	{"one, p99", "s", quantile(each, 0.99), 2},
	{"active, median", "s", quantile(active, 0.5), 2},
	{"active, p99", "s", quantile(active, 0.99), 2},
	{"API calls each", "", result.calls, 1},
	{"reconciles each", "", func(r result) float64 { return r.per(r.Reconciles) }, 1},
	{"CPU each", "ms", func(r result) float64 { return r.per(millis(r.CPU)) }, 1},
	other("kube-apiserver"), other("etcd"), other("beam.smp"),
	{"cores", "", func(r result) float64 { return r.CPU.Seconds() / r.Took.Seconds() }, 2},
	{"memory idle", "MiB", func(r result) float64 { return mebibytes(r.Idle) }, 1},
	{"memory at most", "MiB", func(r result) float64 { return mebibytes(r.Peak) }, 1},
	{"work queue, most", "", func(r result) float64 { return r.Depth }, 0},
	{"wait in it, mean", "ms", func(r result) float64 { return r.Wait * 1000 }, 1},
}

func other(program string) column {
	return column{"CPU each of " + program, "ms", func(r result) float64 { return r.per(millis(r.Others[program])) }, 1}
}

func (c column) title() string {
	if c.unit == "" {
		return c.name
	}
	return c.name + ", " + c.unit
}

func (c column) text(r result) string {
	return strconv.FormatFloat(c.of(r), 'f', c.digits, 64)
}

// report is what all cases have shown.
type report struct {
	Title, Commit string
	Nodes         int
	Machine       []string
	Began         time.Time
	Cases         []result
}

// series are the names of those that there are, in the order in which they were measured.
func (r report) series() []string {
	var out []string
	for _, c := range r.Cases {
		if !slices.Contains(out, c.Series) {
			out = append(out, c.Series)
		}
	}
	return out
}

// of are the cases of a series, the fewest first.
func (r report) of(series string) []result {
	var out []result
	for _, c := range r.Cases {
		if c.Series == series {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b result) int { return cmp.Compare(a.N, b.N) })
	return out
}

// check fails if many cost each more than few, in calls: times depend on the machine.
func (r report) check(bound float64) error {
	var errs []error
	for _, s := range r.series() {
		of := r.of(s)
		few, many := of[0], of[len(of)-1]
		if ratio := many.calls() / few.calls(); ratio > bound {
			errs = append(errs, fmt.Errorf("%s: each of %d migrations takes %.1f API calls, %.2f times as many as each of %d; the bound is %.2f",
				s, many.N, many.calls(), ratio, few.N, bound))
		}
	}
	return errors.Join(errs...)
}

func (r report) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	kinds := r.kinds()
	head := []string{"series", "n", "load"}
	for _, c := range columns {
		head = append(head, c.title())
	}
	if err := out.Write(append(head, kinds...)); err != nil {
		return err
	}
	for _, c := range r.Cases {
		line := []string{c.Series, strconv.Itoa(c.N), c.Load}
		for _, one := range columns {
			line = append(line, one.text(c))
		}
		for _, kind := range kinds {
			line = append(line, strconv.Itoa(c.Calls[kind]))
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// kinds are the calls of all cases, those of which there are most first.
func (r report) kinds() []string {
	sum := map[string]int{}
	for _, c := range r.Cases {
		for kind, n := range c.Calls {
			sum[kind] += n
		}
	}
	return slices.SortedFunc(maps.Keys(sum), func(a, b string) int { return cmp.Or(cmp.Compare(sum[b], sum[a]), cmp.Compare(a, b)) })
}

func (r report) markdown(w io.Writer) error {
	var s strings.Builder
	fmt.Fprintf(&s, "# %s\n\nMade by `make eval-scale`: what is measured is in [scale.md](../scale.md).\n\n", r.Title)
	fmt.Fprintf(&s, "- begun %s; commit `%s`\n- %d simulated nodes\n", r.Began.UTC().Format(time.RFC3339), r.Commit, r.Nodes)
	for _, line := range r.Machine {
		fmt.Fprintf(&s, "- %s\n", line)
	}
	for _, name := range r.series() {
		cases := r.of(name)
		fmt.Fprintf(&s, "\n## Manager: %s\n\n", name)
		if i := slices.IndexFunc(allSeries(), func(s series) bool { return s.Name == name }); i >= 0 && len(allSeries()[i].Flags) > 0 {
			fmt.Fprintf(&s, "`%s`\n\n", strings.Join(allSeries()[i].Flags, " "))
		}
		table(&s, cases, columns)
		fmt.Fprintf(&s, "\n%s\n\n### API calls of each migration\n\n", slope(cases))
		table(&s, cases, r.calls())
	}
	for _, name := range slices.Sorted(maps.Keys(r.plots())) {
		fmt.Fprintf(&s, "\n![%s](%s)\n", r.plots()[name].Title, name)
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// calls are the calls as columns, but for the rarest.
func (r report) calls() []column {
	var out []column
	for _, kind := range r.kinds() {
		out = append(out, column{kind, "", func(c result) float64 { return c.per(float64(c.Calls[kind])) }, 2})
	}
	return slices.DeleteFunc(out, func(c column) bool {
		return !slices.ContainsFunc(r.Cases, func(one result) bool { return c.of(one) >= 0.01 })
	})
}

// slope says how memory grows.
func slope(cases []result) string {
	few, many := cases[0], cases[len(cases)-1]
	if few.N == many.N {
		return "Memory: one case shows no slope."
	}
	return fmt.Sprintf("Memory at most grows by %.1f KiB with each migration, from %d to %d.", (many.Peak-few.Peak)/1024/float64(many.N-few.N), few.N, many.N)
}

// table has a line for each figure and a column for each number of migrations.
func table(s *strings.Builder, cases []result, rows []column) {
	s.WriteString("| at once |")
	for _, c := range cases {
		fmt.Fprintf(s, " %d |", c.N)
	}
	fmt.Fprintf(s, "\n|---|%s\n", strings.Repeat("---|", len(cases)))
	for _, row := range rows {
		fmt.Fprintf(s, "| %s |", row.title())
		for _, c := range cases {
			fmt.Fprintf(s, " %s |", row.text(c))
		}
		s.WriteString("\n")
	}
}

// drawn are the figures of which there is a curve, by file name.
var drawn = map[string]string{
	"scale-cpu.svg": "CPU each", "scale-calls.svg": "API calls each", "scale-rate.svg": "migrations per second", "scale-memory.svg": "memory at most",
}

func (r report) plots() map[string]plots.Plot {
	out := map[string]plots.Plot{}
	for file, name := range drawn {
		of := columns[slices.IndexFunc(columns, func(c column) bool { return c.name == name })]
		p := plots.Plot{Title: name, X: "migrations at once", Y: cmp.Or(of.unit, "number")}
		for _, s := range r.series() {
			line := plots.Line{Name: s}
			for _, c := range r.of(s) {
				line.Points = append(line.Points, plots.Point{X: float64(c.N), Y: of.of(c)})
			}
			p.Lines = append(p.Lines, line)
		}
		out[file] = p
	}
	return out
}

// machine says what is measured on.
func machine() []string {
	cpu := "an unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	return []string{fmt.Sprintf("%s, %d cores for everything: manager, API server, etcd, RabbitMQ and the simulation; load average at the beginning %s", cpu, runtime.NumCPU(), loadAverage())}
}
