package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/eval/measure"
)

// WriteMarkdown writes the report; its plots are the files that Plots names.
func (r Report) WriteMarkdown(w io.Writer) error {
	var s strings.Builder
	r.preface(&s)
	for _, work := range r.works() {
		r.consumer(&s, work)
	}
	r.phases(&s)
	r.floor(&s)
	r.harm(&s)
	r.cost(&s)
	r.failures(&s)
	_, err := io.WriteString(w, s.String())
	return err
}

func (r Report) preface(s *strings.Builder) {
	fmt.Fprintf(s, "# %s\n\nMade by `make eval`; what is measured, and by which clock, is in [eval.md](../eval.md). Every run is in [runs.csv](runs.csv).\n\n", r.Title)
	bad := len(r.Runs) - len(complete(r.Runs))
	fmt.Fprintf(s, "- %d runs, %d of which failed; the order was drawn with the seed %d\n- begun %s; commit `%s`\n",
		len(r.Runs), bad, r.Seed, r.Began.UTC().Format(time.RFC3339), r.Commit)
	for _, line := range append(slices.Clone(r.Machine), r.Notes...) {
		fmt.Fprintf(s, "- %s\n", line)
	}
	s.WriteString("\nTimes are in seconds: median (least–greatest) of the runs that came to their end.\n")
}

// Plots are the reports' pictures by file name.
func (r Report) Plots() map[string]Plot {
	plots := make(map[string]Plot)
	for _, work := range r.works() {
		runs := of(r.Runs, func(r Run) bool { return r.Work == work })
		for what, value := range map[string]func(Run) time.Duration{
			"total": func(r Run) time.Duration { return r.Total },
			"gap":   func(r Run) time.Duration { return r.LongestGap },
		} {
			title := map[string]string{"total": "Total time", "gap": "Longest gap in the processing"}[what]
			p := Plot{Title: fmt.Sprintf("%s, %v a message", title, work), X: "messages per second", Y: "seconds, median"}
			for _, way := range ways(runs) {
				p.Lines = append(p.Lines, medians(string(way), of(runs, func(r Run) bool { return r.Way == way }), value))
			}
			if work == publishedWork && what == "total" {
				p.Lines = append(p.Lines, publishedLines(rates(runs))...)
			}
			plots[plotName(what, work)] = p
		}
	}
	return plots
}

func plotName(what string, work time.Duration) string { return fmt.Sprintf("%s-%v.svg", what, work) }

// medians is the line of a way.
func medians(name string, runs []Run, value func(Run) time.Duration) Line {
	l := Line{Name: name}
	for _, rate := range rates(runs) {
		if good := complete(of(runs, func(r Run) bool { return r.Rate == rate })); len(good) > 0 {
			l.Points = append(l.Points, Point{rate, measure.Quantile(each(good, value), 0.5).Seconds()})
		}
	}
	return l
}

func publishedLines(rates []float64) []Line {
	best, sequential := Line{Name: "published, best", Dashed: true}, Line{Name: "published, sequential", Dashed: true}
	for _, rate := range rates {
		if p, ok := published[rate]; ok {
			best.Points = append(best.Points, Point{rate, p.best})
			sequential.Points = append(sequential.Points, Point{rate, p.sequential})
		}
	}
	if best.Points == nil {
		return nil
	}
	return []Line{best, sequential}
}

// consumer has what depends on the rate.
func (r Report) consumer(s *strings.Builder, work time.Duration) {
	runs := of(r.Runs, func(r Run) bool { return r.Work == work })
	fmt.Fprintf(s, "\n## A consumer of %v a message\n\n### Total time\n\n%v\n", work, totals(runs, work))
	if work == publishedWork {
		s.WriteString("The published figures are medians of arXiv [2603.25484](https://arxiv.org/abs/2603.25484), of **other hardware**, another cluster and another container: " +
			"they say how the time grows with the rate there, not how fast this machine is.\n\n")
	}
	fmt.Fprintf(s, "![Total time by rate](%s)\n", plotName("total", work))
	fmt.Fprintf(s, "\n### Longest gap in the processing\n\n%v\n![Longest gap by rate](%s)\n",
		byRate(runs, times(func(r Run) time.Duration { return r.LongestGap })), plotName("gap", work))
	fmt.Fprintf(s, "\n### Sum of the gaps longer than %v\n\n%v", r.Least, byRate(runs, times(func(r Run) time.Duration { return r.Gaps })))
	s.WriteString("\n### Latency of the messages\n\nFrom when a message is due to its output, in milliseconds: medians of the runs' median / p99 / greatest.\n\n")
	t := table{head: []string{"way", "msg/s", "before", "during", "after"}}
	for _, way := range ways(runs) {
		for _, rate := range rates(runs) {
			good := complete(of(runs, func(r Run) bool { return r.Way == way && r.Rate == rate }))
			if len(good) == 0 {
				continue
			}
			t.rows = append(t.rows, []string{string(way), number(rate),
				latencies(good, func(r Run) measure.Latency { return r.Before }),
				latencies(good, func(r Run) measure.Latency { return r.During }),
				latencies(good, func(r Run) measure.Latency { return r.After })})
		}
	}
	s.WriteString(t.String())
}

// latencies is "median / p99 / greatest" of those runs in which there were messages.
func latencies(runs []Run, which func(Run) measure.Latency) string {
	runs = of(runs, func(r Run) bool { return which(r).N > 0 })
	if len(runs) == 0 {
		return "–"
	}
	middle := func(of func(measure.Latency) time.Duration) int64 {
		return measure.Quantile(each(runs, func(r Run) time.Duration { return of(which(r)) }), 0.5).Milliseconds()
	}
	return fmt.Sprintf("%d / %d / %d",
		middle(func(l measure.Latency) time.Duration { return l.Median }),
		middle(func(l measure.Latency) time.Duration { return l.P99 }),
		middle(func(l measure.Latency) time.Duration { return l.Max }))
}

// phases has the medians of each way, of all rates together.
func (r Report) phases(s *strings.Builder) {
	s.WriteString("\n## Phases\n\nMedians of all rates together; a StatefulSet's pod with a shadow is handed over twice, and its phases are added up.\n\n")
	moved := of(complete(r.Runs), func(r Run) bool { return r.Way != Cold })
	var head []string
	for _, p := range Phases {
		head = append(head, string(p))
	}
	head = append(head, "pause at the checkpoint", "pause at the hand-over")
	s.WriteString(byWay(moved, head, func(runs []Run) []string {
		var cells []string
		for _, p := range Phases {
			cells = append(cells, middle(runs, p))
		}
		return append(cells,
			fmt.Sprintf("%.3f", measure.Quantile(each(runs, func(r Run) time.Duration { return r.PauseCheckpoint }), 0.5).Seconds()),
			fmt.Sprintf("%.3f", measure.Quantile(each(runs, func(r Run) time.Duration { return r.PauseHandover }), 0.5).Seconds()))
	}).String())
	if cold := of(complete(r.Runs), func(r Run) bool { return r.Way == Cold }); len(cold) > 0 {
		fmt.Fprintf(s, "\nThe cold way: %s s until the old pod is gone, %s s until the new one serves, %s s to refill it.\n",
			middle(cold, ColdStop), middle(cold, ColdStart), middle(cold, ColdRefill))
	}
}

func middle(runs []Run, p v1alpha1.MigrationPhase) string {
	return fmt.Sprintf("%.2f", measure.Quantile(each(runs, func(r Run) time.Duration { return r.Phases[p] }), 0.5).Seconds())
}

// floor compares the phases of the bare pod with what their work takes by itself.
func (r Report) floor(s *strings.Builder) {
	s.WriteString("\n## The floor\n\n")
	f := r.Floor
	if f.Missing != "" {
		fmt.Fprintf(s, "Not measured, or not in every round: %s\n\n", strings.ReplaceAll(f.Missing, "\n", "; "))
	}
	if len(f.Dump) == 0 {
		return
	}
	fmt.Fprintf(s, "CRIU alone, on the same machine in the same run: a process of as much memory (%s MiB of images), dumped, its images copied once on the same disk (the nodes share it; a network would be slower), restored from the copy; "+
		"and the broker's round trip: a persistent message published, confirmed and delivered. What it is compared with is the bare pod's, a median of all rates.\n\n", mebibytes(f.Bytes))
	pod := of(complete(r.Runs), func(r Run) bool { return r.Way == Pod })
	t := table{head: []string{"floor", "takes", "what is compared", "its median", "ratio"}}
	row := func(part string, floor []time.Duration, what string, value func(Run) time.Duration) {
		took := measure.Quantile(each(pod, value), 0.5)
		ratio := "–"
		if least := measure.Quantile(floor, 0.5); least > 0 && took > 0 {
			ratio = fmt.Sprintf("%.1f", took.Seconds()/least.Seconds())
		}
		t.rows = append(t.rows, []string{part, precise(floor), what, fmt.Sprintf("%.3f", took.Seconds()), ratio})
	}
	phase := func(part string, floor []time.Duration, p v1alpha1.MigrationPhase) {
		row(part, floor, string(p), func(r Run) time.Duration { return r.Phases[p] })
	}
	row("CRIU dump", f.Dump, "pause at the checkpoint", func(r Run) time.Duration { return r.PauseCheckpoint })
	phase("CRIU dump", f.Dump, v1alpha1.PhaseCheckpointing)
	phase("copy of the images", f.Copy, v1alpha1.PhaseTransferring)
	phase("CRIU restore", f.Restore, v1alpha1.PhaseRestoring)
	row("round trip of the broker", f.RoundTrip, "pause at the hand-over", func(r Run) time.Duration { return r.PauseHandover })
	s.WriteString(t.String())
	s.WriteString("\nReplaying and Finalizing have no floor of this kind: the first is bounded by the messages that came meanwhile and the consumer's own time for them, the second is mostly the end of the source pod.\n")
}

// precise is spread with a digit more.
func precise(took []time.Duration) string {
	if len(took) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.4f (%.4f–%.4f)", measure.Quantile(took, 0.5).Seconds(), slices.Min(took).Seconds(), slices.Max(took).Seconds())
}

// harm has what was lost, doubled, reordered and refused.
func (r Report) harm(s *strings.Builder) {
	s.WriteString("\n## Lost, doubled, reordered, refused\n\nSums over all runs that could be judged, failed ones included.\n\n")
	judged := of(r.Runs, func(r Run) bool { return r.Judged })
	s.WriteString(byWay(judged,
		[]string{"runs", "messages", "state: lost / doubled / reordered", "outputs: lost / doubled / reordered", "memory thrown away (messages)", "another process", "reads", "refused", "stale", "slowest, s"},
		func(runs []Run) []string {
			return []string{
				fmt.Sprint(len(runs)), sum(runs, func(r Run) uint64 { return r.Sent }),
				strings.Join([]string{sum(runs, func(r Run) uint64 { return r.State.Lost }), sum(runs, func(r Run) uint64 { return r.State.Doubled }), sum(runs, func(r Run) uint64 { return r.State.Reordered })}, " / "),
				strings.Join([]string{sum(runs, func(r Run) uint64 { return r.Outputs.Lost }), sum(runs, func(r Run) uint64 { return r.Outputs.Doubled }), sum(runs, func(r Run) uint64 { return r.Outputs.Reordered })}, " / "),
				sum(runs, func(r Run) uint64 { return r.Forgotten }),
				fmt.Sprint(len(of(runs, func(r Run) bool { return !r.SameProcess }))),
				sum(runs, func(r Run) int { return r.Reads }), sum(runs, func(r Run) int { return r.Refused }), sum(runs, func(r Run) int { return r.Stale }),
				fmt.Sprintf("%.2f", measure.Quantile(each(runs, func(r Run) time.Duration { return r.SlowestRead }), 1).Seconds()),
			}
		}).String())
}

// cost has bytes, CPU and memory.
func (r Report) cost(s *strings.Builder) {
	s.WriteString("\n## Cost\n\nMedians; a StatefulSet's two checkpoints are added up. CPU and memory are of manager, agents and broker over the whole run, load included: the cold way, which needs neither manager nor agents, is the measure of what they use without.\n\n")
	head := []string{"image, MiB", "archive, MiB"}
	for _, p := range Programs {
		head = append(head, p+": CPU, s", "memory, MiB")
	}
	s.WriteString(byWay(complete(r.Runs), head, func(runs []Run) []string {
		cells := []string{
			mebibytes(measure.Quantile(each(runs, func(r Run) int64 { return r.Image }), 0.5)),
			mebibytes(measure.Quantile(each(runs, func(r Run) int64 { return r.Archive }), 0.5)),
		}
		for _, p := range Programs {
			cells = append(cells,
				fmt.Sprintf("%.2f", measure.Quantile(each(runs, func(r Run) time.Duration { return r.Used[p].CPU }), 0.5).Seconds()),
				mebibytes(measure.Quantile(each(runs, func(r Run) int64 { return r.Used[p].Memory }), 0.5)))
		}
		return cells
	}).String())
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

// failures names each run that failed.
func (r Report) failures(s *strings.Builder) {
	bad := of(r.Runs, func(r Run) bool { return r.Failed != "" })
	if len(bad) == 0 {
		return
	}
	s.WriteString("\n## Failed runs\n\n")
	for _, run := range bad {
		fmt.Fprintf(s, "- run %d, %s at %s/s, %v: %s\n", run.Number, run.Way, number(run.Rate), run.Work, strings.ReplaceAll(run.Failed, "\n", "; "))
	}
}
