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
	r.attained(&s)
	for _, work := range r.works() {
		r.consumer(&s, work)
	}
	r.phases(&s)
	r.memory(&s)
	r.fast(&s)
	r.scale(&s)
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

// consumer has what depends on the rate.
func (r Report) consumer(s *strings.Builder, work time.Duration) {
	runs := of(r.part(Rates), func(r Run) bool { return r.Work == work })
	fmt.Fprintf(s, "\n## A consumer of %v a message\n\n### Total time\n\n%v\n", work, totals(runs, work))
	if work == publishedWork {
		s.WriteString("The published figures are medians of arXiv [2603.25484](https://arxiv.org/abs/2603.25484), of **other hardware**, another cluster and another container: " +
			"they say how the time grows with the rate there, not how fast this machine is.\n\n")
	}
	fmt.Fprintf(s, "![Total time by rate](%s)\n", plotName("total", work))
	fmt.Fprintf(s, "\n### Longest gap in the processing\n\n%v\n![Longest gap by rate](%s)\n",
		byRate(runs, times(func(r Run) time.Duration { return r.LongestGap })), plotName("gap", work))
	fmt.Fprintf(s, "\n### Sum of the gaps longer than %v\n\n%v", r.Least, byRate(runs, times(func(r Run) time.Duration { return r.Gaps })))
	fmt.Fprintf(s, "\n### Pause at the hand-over, in milliseconds\n\n%v", byRate(of(runs, migrated), func(runs []Run) string {
		return finely(each(complete(runs), func(r Run) time.Duration { return r.PauseHandover }))
	}))
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
		return measure.Median(each(runs, func(r Run) time.Duration { return of(which(r)) })).Milliseconds()
	}
	return fmt.Sprintf("%d / %d / %d",
		middle(func(l measure.Latency) time.Duration { return l.Median }),
		middle(func(l measure.Latency) time.Duration { return l.P99 }),
		middle(func(l measure.Latency) time.Duration { return l.Max }))
}

// phases has the medians of each way, of all rates together.
func (r Report) phases(s *strings.Builder) {
	runs := complete(r.part(Rates))
	if len(runs) == 0 {
		return
	}
	s.WriteString("\n## Phases\n\nMedians of all rates together; a StatefulSet's pod with a shadow is handed over twice, and its phases are added up.\n\n")
	var head []string
	for _, p := range Phases {
		head = append(head, string(p))
	}
	head = append(head, "pause at the checkpoint", "CRIU's own freeze", "pause at the hand-over")
	s.WriteString(byWay(of(runs, migrated), head, func(runs []Run) []string {
		var cells []string
		for _, p := range Phases {
			cells = append(cells, middle(runs, p))
		}
		return append(cells,
			exact(runs, func(r Run) time.Duration { return r.PauseCheckpoint }),
			exact(runs, func(r Run) time.Duration { return r.Freeze }),
			exact(runs, func(r Run) time.Duration { return r.PauseHandover }))
	}).String())
	if cold := of(runs, func(r Run) bool { return r.Way == Cold }); len(cold) > 0 {
		fmt.Fprintf(s, "\nThe cold way: %s s until the old pod is gone, %s s until the new one serves, %s s to refill it.\n",
			middle(cold, ColdStop), middle(cold, ColdStart), middle(cold, ColdRefill))
	}
}

func middle(runs []Run, p v1alpha1.MigrationPhase) string {
	return fmt.Sprintf("%.2f", measure.Median(each(runs, func(r Run) time.Duration { return r.Phases[p] })).Seconds())
}

// harm has what was lost, doubled, reordered and refused.
func (r Report) harm(s *strings.Builder) {
	s.WriteString("\n## Lost, doubled, reordered, refused\n\nSums over all runs of every part that could be judged, failed ones included.\n\n")
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
	runs := complete(r.part(Rates))
	if len(runs) == 0 {
		return
	}
	s.WriteString("\n## Cost\n\nMedians; a StatefulSet's two checkpoints are added up. CPU and memory are of manager, agents and broker over the whole run, load included: the cold way, which needs neither manager nor agents, is the measure of what they use without.\n\n")
	head := []string{"image, MiB", "archive, MiB"}
	for _, p := range Programs {
		head = append(head, p+": CPU, s", "memory, MiB")
	}
	s.WriteString(byWay(runs, head, func(runs []Run) []string {
		cells := []string{
			mebibytes(measure.Median(each(runs, func(r Run) int64 { return r.Image }))),
			mebibytes(measure.Median(each(runs, func(r Run) int64 { return r.Archive }))),
		}
		for _, p := range Programs {
			cells = append(cells,
				fmt.Sprintf("%.2f", measure.Median(each(runs, func(r Run) time.Duration { return r.Used[p].CPU })).Seconds()),
				mebibytes(measure.Median(each(runs, func(r Run) int64 { return r.Used[p].Memory }))))
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
		fmt.Fprintf(s, "- run %d, %s at %s/s, %v, %d MiB: %s\n", run.Number, run.Way, number(run.Rate), run.Work, run.Ballast, strings.ReplaceAll(run.Failed, "\n", "; "))
	}
}
