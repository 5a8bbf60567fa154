package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/eval/measure"
)

// Delivered is the least share of what is due that has to be taken, or done, for one
// to say that it was.
const Delivered = 0.95

// Taken is the share of what was due that the broker took before the move.
func (r Run) Taken() float64 { return r.SentRate / r.Rate }

// active is the time without that in the queue.
func (r Run) active() time.Duration { return r.Total - r.Queued }

// done is the share of what was due that the service got done before the move.
func (r Run) done() float64 { return r.DoneRate / r.Rate }

// memory has what depends on the size of the state.
func (r Report) memory(s *strings.Builder) {
	runs := r.part(Memory)
	if len(runs) == 0 {
		return
	}
	s.WriteString("\n## Sizes of the memory\n\nNoise in the memory, which nothing compresses; a consumer of 10 ms a message, 20 messages a second. Medians, in seconds; the ratios to what CRIU and a copy take by themselves are [below](#the-floor).\n\n")
	t := table{head: []string{"way", "MiB", "total"}}
	for _, p := range Phases {
		t.head = append(t.head, string(p))
	}
	t.head = append(t.head, "pause at the checkpoint", "CRIU's own freeze", "pause at the hand-over", "longest gap", "image, MiB", "archive, MiB")
	for _, w := range ways(runs) {
		for _, mib := range sizes(runs) {
			all := of(runs, func(r Run) bool { return r.Way == w && r.Ballast == mib })
			good := complete(all)
			row := []string{string(w), fmt.Sprint(mib), times(func(r Run) time.Duration { return r.Total })(all)}
			for _, p := range Phases {
				row = append(row, exact(good, func(r Run) time.Duration { return r.Phases[p] }))
			}
			t.rows = append(t.rows, append(row,
				exact(good, func(r Run) time.Duration { return r.PauseCheckpoint }),
				exact(good, func(r Run) time.Duration { return r.Freeze }),
				exact(good, func(r Run) time.Duration { return r.PauseHandover }),
				exact(good, func(r Run) time.Duration { return r.LongestGap }),
				mebibytes(measure.Median(each(good, func(r Run) int64 { return r.Image }))),
				mebibytes(measure.Median(each(good, func(r Run) int64 { return r.Archive })))))
		}
	}
	s.WriteString(t.String())
	if len(of(runs, func(r Run) bool { return r.Way == Pod })) > 0 {
		s.WriteString("\n![Time by the size of the memory](memory.svg)\n\n![Ratio to the floor by the size of the memory](memory-ratio.svg)\n")
	}
}

// fast has the rates up to the broker's limit.
func (r Report) fast(s *strings.Builder) {
	runs := r.part(Fast)
	if len(runs) == 0 {
		return
	}
	s.WriteString("\n## Up to the broker's limit\n\nA consumer without work. *Sent* is what the broker took of what was due, *done* what the service put out of it, in the load before the move. Medians, in seconds.\n\n")
	fmt.Fprintf(s, "- The broker %s\n- The service %s\n\n", limit(runs, Run.Taken, "took"), limit(runs, Run.done, "got done"))
	t := table{head: []string{"way", "msg/s", "sent", "done", "total", "longest gap", "pause at the hand-over", "Replaying", "frozen for", "messages", "state: lost / doubled / reordered", "outputs: lost / doubled / reordered"}}
	for _, w := range ways(runs) {
		for _, rate := range rates(runs) {
			all := of(runs, func(r Run) bool { return r.Way == w && r.Rate == rate })
			good := complete(all)
			if len(all) == 0 {
				continue
			}
			t.rows = append(t.rows, []string{
				string(w), number(rate), share(all, Run.Taken), share(all, Run.done),
				times(func(r Run) time.Duration { return r.Total })(all),
				exact(good, func(r Run) time.Duration { return r.LongestGap }),
				exact(good, func(r Run) time.Duration { return r.PauseHandover }),
				exact(good, func(r Run) time.Duration { return r.Phases["Replaying"] }),
				strings.Join(unique(each(good, func(r Run) string { return r.CutoffReason })), ", "),
				sum(all, func(r Run) uint64 { return r.Sent }),
				tally(all, func(r Run) load.Tally { return r.State }), tally(all, func(r Run) load.Tally { return r.Outputs }),
			})
		}
	}
	s.WriteString(t.String())
	if len(of(runs, func(r Run) bool { return r.Way == Pod })) > 0 {
		s.WriteString("\n![A consumer without work, by rate](fast.svg)\n")
	}
}

// Limit is the least rate at which less came of than was due, by the median of its
// runs, and what came; 0, if there is none.
func Limit(runs []Run, value func(Run) float64) (rate, got float64) {
	for _, rate := range rates(runs) {
		at := of(runs, func(r Run) bool { return r.Rate == rate && r.SentRate > 0 })
		if share := measure.Median(each(at, value)); len(at) > 0 && share < Delivered {
			return rate, share * rate
		}
	}
	return 0, 0
}

// limit says up to which rate all that was due was taken, or done.
func limit(runs []Run, value func(Run) float64, did string) string {
	beyond, got := Limit(runs, value)
	reached := 0.0
	for _, r := range runs {
		if r.SentRate > 0 && (beyond == 0 || r.Rate < beyond) {
			reached = max(reached, r.Rate)
		}
	}
	switch {
	case reached == 0 && beyond == 0:
		return did + " nothing that was measured"
	case reached == 0:
		return fmt.Sprintf("%s %.0f of the %s messages a second that were the least tried", did, got, number(beyond))
	case beyond == 0:
		return fmt.Sprintf("%s all that was due up to %s a second, the highest rate that was tried", did, number(reached))
	}
	return fmt.Sprintf("%s all that was due up to %s a second; of %s it %s %.0f", did, number(reached), number(beyond), did, got)
}

func share(runs []Run, value func(Run) float64) string {
	runs = of(runs, func(r Run) bool { return r.SentRate > 0 })
	if len(runs) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*measure.Median(each(runs, value)))
}

// tally is "lost / doubled / reordered" of runs together.
func tally(runs []Run, which func(Run) load.Tally) string {
	var all load.Tally
	for _, r := range runs {
		all = all.Add(which(r))
	}
	return fmt.Sprintf("%d / %d / %d", all.Lost, all.Doubled, all.Reordered)
}

// scale has many services at once.
func (r Report) scale(s *strings.Builder) {
	runs := r.part(Scale)
	if len(runs) == 0 {
		return
	}
	active := "all of them"
	if r.Active > 0 {
		active = fmt.Sprint(r.Active)
	}
	fmt.Fprintf(s, "\n## Many services at once\n\nAll of them from one node to another, each with a pod, queues, %s messages a second and a judge of its own; the manager lets %s be active at a time. In seconds. *Waiting* is for others to end, *a migration* the rest of its time, *all* from creating the first to the end of the last, by round.\n\n", number(runs[0].Rate), active)
	t := table{head: []string{"services", "moved", "waiting", "a migration", "slowest", "all", "longest gap", "pause at the checkpoint", "pause at the hand-over", "messages", "state: lost / doubled / reordered", "outputs: lost / doubled / reordered"}}
	for _, n := range services(runs) {
		all := of(runs, func(r Run) bool { return r.Services == n })
		good := complete(all)
		judged := of(all, func(r Run) bool { return r.Judged })
		took := each(good, Run.active)
		t.rows = append(t.rows, []string{
			fmt.Sprint(n), fmt.Sprintf("%d of %d", len(good), len(all)), spread(each(good, func(r Run) time.Duration { return r.Queued })),
			spread(took), fmt.Sprintf("%.2f", measure.Quantile(took, 1).Seconds()), spread(spans(good)),
			spread(each(good, func(r Run) time.Duration { return r.LongestGap })),
			spread(each(good, func(r Run) time.Duration { return r.PauseCheckpoint })),
			spread(each(good, func(r Run) time.Duration { return r.PauseHandover })),
			sum(judged, func(r Run) uint64 { return r.Sent }),
			tally(judged, func(r Run) load.Tally { return r.State }), tally(judged, func(r Run) load.Tally { return r.Outputs }),
		})
	}
	s.WriteString(t.String())
	s.WriteString("\n![Services moved at once](scale.svg)\n\nWhat they have used, medians of the rounds: CPU and memory over the load and the moves of all of them together; memory left and watchers of inotify (of which the kernel grants a user 128 unless told otherwise) at the worst moment.\n\n")
	s.WriteString(r.used().String())
	for _, f := range r.Fleets {
		if f.Missing != "" {
			fmt.Fprintf(s, "\n%d services in round %d, of which %d ran: %s\n", f.Services, f.Round, f.Ready, strings.ReplaceAll(f.Missing, "\n", "; "))
		}
	}
}

// used is what many services at once have used.
func (r Report) used() table {
	t := table{head: []string{"services", "ran", "all started in, s", "memory left, MiB", "watchers"}}
	for _, p := range Programs {
		t.head = append(t.head, p+": CPU, s", "memory, MiB")
	}
	number := func(f Fleet) int { return f.Services }
	var numbers []int
	for _, f := range r.Fleets {
		numbers = append(numbers, number(f))
	}
	for _, n := range unique(numbers) {
		fleets := slices.DeleteFunc(slices.Clone(r.Fleets), func(f Fleet) bool { return f.Services != n })
		middle := func(of func(Fleet) int64) int64 {
			var all []int64
			for _, f := range fleets {
				all = append(all, of(f))
			}
			return measure.Median(all)
		}
		row := []string{
			fmt.Sprint(n), fmt.Sprint(middle(func(f Fleet) int64 { return int64(f.Ready) })),
			fmt.Sprintf("%.1f", time.Duration(middle(func(f Fleet) int64 { return int64(f.Starting) })).Seconds()),
			mebibytes(middle(func(f Fleet) int64 { return f.Available })), fmt.Sprint(middle(func(f Fleet) int64 { return int64(f.Watchers) })),
		}
		for _, p := range Programs {
			row = append(row,
				fmt.Sprintf("%.2f", time.Duration(middle(func(f Fleet) int64 { return int64(f.Used[p].CPU) })).Seconds()),
				mebibytes(middle(func(f Fleet) int64 { return f.Used[p].Memory })))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// spans are, by round, the times from the first beginning to the last end.
func spans(runs []Run) []time.Duration {
	var all []time.Duration
	for _, round := range unique(each(runs, func(r Run) int { return r.Round })) {
		var first, last time.Time
		for _, r := range runs {
			if r.Round != round {
				continue
			}
			if first.IsZero() || r.Begun.Before(first) {
				first = r.Begun
			}
			if end := r.Begun.Add(r.Total); end.After(last) {
				last = end
			}
		}
		all = append(all, last.Sub(first))
	}
	return all
}
