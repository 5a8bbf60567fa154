package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// result is one migration; without Move it did not come to an end.
type result struct {
	*harness.Move
	err error
}

// good reports whether the migration succeeded, nothing was lost, doubled or
// reordered, and the memory that counted at the end is that of the beginning.
func (r result) good() bool {
	return r.err == nil && r.Move != nil && r.OK() && r.SameMemory() &&
		r.Target.Spec.NodeName == r.Migration.Status.TargetNode &&
		r.Target.Spec.NodeName != r.Migration.Status.SourceNode
}

// printOne prints a migration as a table, and the verdict on it.
func printOne(w io.Writer, r result) {
	fmt.Fprintln(w)
	if r.Move == nil {
		fmt.Fprintln(w, "FAILED\nverdict: none, the migration did not end")
		return
	}
	s := r.Migration.Status
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("from → to", "%s → %s", s.SourceNode, s.TargetNode)
	row("pod", "%s → %s", r.Migration.Spec.SourcePod.Name, s.TargetPodName)
	row("sent, counted", "%d, %d", r.Sent, r.Counted)
	row("memory", "%v", r.State)
	row("outputs", "%v", r.Outputs)
	row("hash chains", "%s", either(r.ChainEqual, "equal", "DIFFERENT"))
	row("process", "%s (mark %.6s → %.6s, started %s)", either(r.SameMemory(), "the same", "ANOTHER"),
		r.Begin.Mark, r.End.Mark, r.End.StartedAt.Format(time.TimeOnly))
	if image := s.CheckpointImage; image != nil {
		row("checkpoint", "%s in the registry, %s unpacked", size(image.SizeBytes), size(image.ArchiveBytes))
	}
	row("total time", "%s", seconds(r.Total))
	for _, p := range s.PhaseTimes {
		if p.DurationMillis != nil {
			row("  "+string(p.Phase), "%s", seconds(millis(p.DurationMillis)))
		}
	}
	if c := s.Cutoff; c != nil {
		row("source frozen", "%s: %s/s arrived, %s/s could be replayed, %d outstanding",
			c.Reason, either(c.ArrivalRate != "", c.ArrivalRate, "?"), either(c.ReplayRate != "", c.ReplayRate, "?"), c.LagMessages)
	}
	if s.Pauses != nil {
		row("pause at the checkpoint", "%s%s", seconds(millis(s.Pauses.CheckpointMillis)), parts(s.Pauses.Checkpoint))
		row("pause at the hand-over", "%s", seconds(millis(s.Pauses.HandoverMillis)))
	}
	row("longest gap between outputs", "%s, as seen from outside", seconds(r.Gap))
	row("result", "%s", either(r.good(), "good", "FAILED"))
	_ = t.Flush()
	printProblems(w, "", r.Problems)
	fmt.Fprintf(w, "\nverdict: %v\n", r.Verdict)
}

// parts says what the pause at the checkpoint was made of, as far as it is known.
func parts(p *v1alpha1.CheckpointPause) string {
	if p == nil || p.Node == nil || p.DrainMillis == nil || p.CallMillis == nil {
		return ""
	}
	return fmt.Sprintf(" (drain %d, call %d, begin %d, CRIU %d of which frozen %d, thaw %d ms)",
		*p.DrainMillis, *p.CallMillis, p.Node.BeginMillis, p.Node.DumpMillis, p.Node.FrozenMillis, p.Node.ThawMillis)
}

// printAll prints a row for each migration, and the verdict on all of them.
func printAll(w io.Writer, results []result) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "run\tsent\tcounted\tlost\tdoubled\treordered\tchains\tprocess\ttotal\tcheckpoint\tpause 1\tpause 2\tgap\t\t")
	var (
		sum  load.Tally
		good int
	)
	for i, r := range results {
		if r.good() {
			good++
		}
		if r.Move == nil {
			fmt.Fprintf(t, "%d\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\tFAILED\t\n", i+1)
			continue
		}
		both := r.State.Add(r.Outputs)
		sum = sum.Add(both)
		s := r.Migration.Status
		var image, checkpoint, handover string
		if s.CheckpointImage != nil {
			image = size(s.CheckpointImage.SizeBytes)
		}
		if s.Pauses != nil {
			checkpoint, handover = seconds(millis(s.Pauses.CheckpointMillis)), seconds(millis(s.Pauses.HandoverMillis))
		}
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", i+1,
			r.Sent, r.Counted, both.Lost, both.Doubled, both.Reordered,
			either(r.ChainEqual, "equal", "DIFFER"), either(r.SameMemory(), "same", "OTHER"),
			seconds(r.Total), image, checkpoint, handover, seconds(r.Gap), either(r.good(), "good", "FAILED"))
	}
	_ = t.Flush()
	for i, r := range results {
		if r.Move != nil {
			printProblems(w, fmt.Sprintf("run %d: ", i+1), r.Problems)
		}
	}
	fmt.Fprintln(w, "pause 1 is at the checkpoint, pause 2 at the hand-over; gap is the longest between two outputs.")
	fmt.Fprintf(w, "\n%d of %d good\nverdict: %v\n", good, len(results), sum)
}

func printProblems(w io.Writer, run string, problems []string) {
	for _, problem := range problems {
		fmt.Fprintf(w, "%sproblem: %s\n", run, problem)
	}
}

func either(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func millis(ms *int64) time.Duration {
	if ms == nil {
		return 0
	}
	return time.Duration(*ms) * time.Millisecond
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func size(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
