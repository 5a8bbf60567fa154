package cluster

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"ms2m.dev/ms2m/lab/internal/service"
)

// Report is the state of everything in a lab.
type Report []Line

// Line is the state of one thing.
type Line struct {
	Machine, Component string
	Since              time.Time
	Restarts           int
	Problem            string // empty if it is ready
}

// Ready says whether all is well.
func (r Report) Ready() bool {
	return !slices.ContainsFunc(r, func(l Line) bool { return l.Problem != "" })
}

// Write writes the report as a table.
func (r Report) Write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tCOMPONENT\tREADY\tUP\tRESTARTS\tPROBLEM")
	for _, l := range r {
		ready, up := "yes", "-"
		if l.Problem != "" {
			ready = "no"
		}
		if !l.Since.IsZero() {
			up = time.Since(l.Since).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", l.Machine, l.Component, ready, up, l.Restarts, firstLine(l.Problem))
	}
	return w.Flush()
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// Status asks everything in the lab how it is.
func (r Running) Status(ctx context.Context) (Report, error) {
	a, err := r.api()
	if err != nil {
		return nil, err
	}
	machines := r.Machines()
	parts := make([]Report, len(machines))
	var wg sync.WaitGroup
	for i, name := range machines {
		wg.Go(func() {
			parts[i] = r.services(ctx, name)
			if _, isNode := r.Node(name); isNode {
				parts[i] = append(parts[i], Line{Machine: name, Component: "node", Problem: problem(a.nodeReady(ctx, name))})
			}
		})
	}
	wg.Wait()
	return slices.Concat(parts...), nil
}

// ready fails, saying what isn't ready, unless all is.
func (r Running) ready(ctx context.Context) error {
	report, err := r.Status(ctx)
	if err != nil {
		return err
	}
	for _, l := range report {
		if l.Problem != "" {
			return fmt.Errorf("%s of %s is not ready: %s", l.Component, l.Machine, l.Problem)
		}
	}
	return nil
}

func (r Running) services(ctx context.Context, machine string) Report {
	client, err := r.Client(machine)
	var services []service.Status
	if err == nil {
		services, err = client.Status(ctx)
	}
	if err != nil {
		return Report{{Machine: machine, Component: "machine", Problem: err.Error()}}
	}
	var report Report
	for _, s := range services {
		l := Line{Machine: machine, Component: s.Name, Since: s.Started, Restarts: s.Restarts, Problem: s.NotReady}
		if s.PID == 0 {
			l.Since = time.Time{}
			if s.LastExit != "" {
				l.Problem += " (" + s.LastExit + ")"
			}
		}
		report = append(report, l)
	}
	return report
}

func problem(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}
