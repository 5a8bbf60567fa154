package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"ms2m.dev/ms2m/test/eval/report"
	"ms2m.dev/ms2m/test/harness"
)

// evaluation is what is under way.
type evaluation struct {
	options
	lab     *harness.Lab
	series  string // beside what an earlier one may have left
	skipped int    // cases that were not tried, since the broker does not take so much
}

// evaluate measures and writes the report, also when it is interrupted or runs fail:
// what was measured is measured.
func evaluate(ctx context.Context, o options) (err error) {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	lab, err := harness.Open()
	if err != nil {
		return err
	}
	e := &evaluation{options: o, lab: lab, series: rand.String(4)}
	r := report.Report{
		Title: o.title, Commit: o.commit, Began: time.Now(), Seed: o.seed, Least: leastGap, Cutoff: int32(o.cutoff), Active: o.active,
	}
	if r.Machine, err = e.machine(ctx); err != nil {
		return fmt.Errorf("describe the machine: %w", err)
	}
	// All of many services at once have the same two nodes.
	limits := []string{fmt.Sprintf("manager.limits.migrations=%d", o.active), fmt.Sprintf("manager.limits.perNode=%d", o.active)}
	if err := lab.Deploy(ctx, o.chart, limits...); err != nil {
		return fmt.Errorf("deploy MS2M: %w", err)
	}
	failed := e.rounds(ctx, &r)
	r.Notes = []string{
		fmt.Sprintf("%d MiB of noise in the service's memory, unless said otherwise; cut-off %d s; %v of load before each move, %v after it; load average at the end %s",
			o.ballast, o.cutoff, o.warm, o.after, loadAverage()),
	}
	if e.skipped > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d runs of rates above what the broker took were left out", e.skipped))
	}
	if planned := o.planned() - e.skipped; len(r.Runs) < planned {
		r.Notes = append(r.Notes, fmt.Sprintf("**it was broken off** when %d of %d runs were made", len(r.Runs), planned))
	}
	err = write(o.out, r)
	err = errors.Join(err, failed)
	fmt.Printf("%s: %d runs\n", filepath.Join(o.out, "report.md"), len(r.Runs))
	if ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	for _, run := range r.Runs {
		if !run.OK() {
			err = errors.Join(err, fmt.Errorf("run %d, %s at %g/s: %s", run.Number, run.Way, run.Rate, complaint(run)))
		}
	}
	if o.check {
		findings := r.Check()
		fmt.Print(report.Told(findings))
		err = errors.Join(err, report.Beyond(findings))
	}
	return err
}

// rounds measures, the floor at the beginning of each round: what it costs is of the
// same hour as the runs. That the floor could not be measured does not end it.
func (e *evaluation) rounds(ctx context.Context, r *report.Report) (failed error) {
	all := e.order()
	for i, round := range all {
		if err := e.measureFloor(ctx, &r.Floor, i+1); err != nil && ctx.Err() == nil {
			failed = errors.Join(failed, err)
			r.Floor.Missing = err.Error()
		}
		for _, c := range round {
			if c.Part == report.Fast && hopeless(c.Rate, r.Runs) {
				e.skipped++
				continue
			}
			runs, fleet := e.try(ctx, c, len(r.Runs)+1, i+1)
			if ctx.Err() != nil {
				return failed // it was cut off, and says nothing
			}
			if fleet != nil {
				r.Fleets = append(r.Fleets, *fleet)
			}
			r.Runs = append(r.Runs, runs...)
			for _, run := range runs {
				fmt.Printf("%4d/%d  %-6s %-22s %6g/s %-4v %4d MiB  %s\n", run.Number, e.planned(), c.Part, c.Way, c.Rate, c.Work, c.Ballast, told(run))
			}
			// What stands is kept, should the rest not come.
			if err := writeFile(e.out, "runs.csv", func(w io.Writer) error { return report.WriteCSV(w, r.Runs) }); err != nil {
				fmt.Fprintln(os.Stderr, "eval:", err)
			}
		}
	}
	return failed
}

// hopeless says of a rate that the broker has not taken a lower one.
func hopeless(rate float64, runs []report.Run) bool {
	fast := slices.DeleteFunc(slices.Clone(runs), func(r report.Run) bool { return r.Part != report.Fast })
	beyond, _ := report.Limit(fast, report.Run.Taken)
	return beyond > 0 && rate > beyond
}

// try measures a case: a run of each of its services.
func (e *evaluation) try(ctx context.Context, c report.Case, number, round int) ([]report.Run, *report.Fleet) {
	if c.Part == report.Scale {
		return e.fleet(ctx, c, number, round)
	}
	return []report.Run{e.run(ctx, c, number, round)}, nil
}

// told is a run in a line.
func told(r report.Run) string {
	s := fmt.Sprintf("total %.2f s, longest gap %.2f s, %d reads refused", r.Total.Seconds(), r.LongestGap.Seconds(), r.Refused)
	if !r.OK() {
		s += ": " + complaint(r)
	}
	return s
}

func complaint(r report.Run) string {
	if r.Failed != "" {
		return r.Failed
	}
	return fmt.Sprintf("the state: %v, chains equal: %t", r.State, r.ChainEqual)
}

// write writes the report's files.
func write(dir string, r report.Report) error {
	err := errors.Join(
		writeFile(dir, "runs.csv", func(w io.Writer) error { return report.WriteCSV(w, r.Runs) }),
		writeFile(dir, "floor.csv", r.Floor.WriteCSV),
		writeFile(dir, "report.md", r.WriteMarkdown))
	for name, plot := range r.Plots() {
		err = errors.Join(err, writeFile(dir, name, plot.WriteSVG))
	}
	return err
}

func writeFile(dir, name string, write func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
