package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// row is what became of the moves with one kind of fault.
type row struct {
	completed, failed int
	took              []time.Duration
	pauses            []int64 // milliseconds, at the hand-over
}

// count counts a move.
func (s *soak) count(k kind, end v1alpha1.MigrationPhase, took time.Duration, m *v1alpha1.StatefulMigration) {
	r := s.tally[k]
	if r == nil {
		r = &row{}
		s.tally[k] = r
	}
	r.took = append(r.took, took)
	if end != v1alpha1.PhaseCompleted {
		r.failed++
		return
	}
	r.completed++
	if p := m.Status.Pauses; p != nil && p.HandoverMillis != nil {
		r.pauses = append(r.pauses, *p.HandoverMillis)
	}
}

// report prints what has become of the soak and reports whether it is good.
func (s *soak) report(o harness.Outcome) bool {
	fmt.Printf("\n%d moves in %v, seed %d\n\n", s.moves, time.Since(s.begin).Round(time.Second), s.seed)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "fault\tmoves\tmoved\trolled back\tmedian time\tlongest\tmedian pause\tlongest\t")
	for _, k := range slices.Concat([]kind{none}, kinds) {
		r := s.tally[k]
		if r == nil {
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f s\t%.1f s\t%s\t\n", k, r.completed+r.failed, r.completed, r.failed,
			median(r.took).Seconds(), slices.Max(r.took).Seconds(), pauses(r.pauses))
	}
	_ = t.Flush()
	leaked := s.leaks.print()
	good := o.OKWithoutRepeated() && o.SameMemory()
	fmt.Printf("\nsent %d, counted %d; %s\n", o.Sent, o.Counted, o.Numbers())
	fmt.Printf("hash chains: %s; memory: %s\n", either(o.ChainEqual, "equal", "DIFFERENT"), either(o.SameMemory(), "the same", "ANOTHER"))
	fmt.Printf("published again by the producers, whose confirm was lost: %d\n", len(s.flow.Generator.Resent()))
	for _, p := range o.Problems {
		fmt.Println("problem:", p)
	}
	for _, l := range leaked {
		fmt.Println("leak:", l)
	}
	good = good && len(leaked) == 0
	fmt.Printf("\nverdict: %v; %s\n", o.Verdict, either(good, "good", "FAILED"))
	return good
}

// print prints the samples and returns what has grown that must not.
func (l *leaks) print() (leaked []string) {
	if len(l.samples) == 0 {
		return nil
	}
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "after move\t")
	for _, s := range l.samples {
		fmt.Fprintf(t, "%d\t", s.move)
	}
	fmt.Fprintln(t)
	for _, name := range l.samples[0].names {
		fmt.Fprintf(t, "%s\t", name)
		for i, s := range l.samples {
			mark := ""
			if i > 0 && s.process[name] != l.samples[i-1].process[name] {
				mark = "*" // another process
			}
			fmt.Fprintf(t, "%s%d\t", mark, s.value[name])
		}
		fmt.Fprintln(t)
		if why := l.grown(name); why != "" {
			leaked = append(leaked, why)
		}
	}
	_ = t.Flush()
	fmt.Println("* another process than before")
	return leaked
}

// grown says what has grown of a name since the first sample of its last process.
// What is counted must be as it was but for what goes on at the moment: a pod that
// is still ending, a connection that comes back. Memory may breathe.
func (l *leaks) grown(name string) string {
	last := l.samples[len(l.samples)-1]
	i := slices.IndexFunc(l.samples, func(s sample) bool { return s.process[name] == last.process[name] })
	first := l.samples[i]
	most := first.value[name] + first.value[name]/10 + 5
	switch {
	case strings.HasSuffix(name, "disk, KiB"):
		return "" // the registry gives a deleted blob's space back when it collects its garbage
	case strings.HasSuffix(name, "KiB"):
		most = first.value[name]*3/2 + 32<<10
	case strings.HasPrefix(name, "API:"), strings.HasPrefix(name, "registry:"), strings.HasSuffix(name, "archives"), strings.HasSuffix(name, "staged files"):
		most = first.value[name] + 1
	}
	if last.value[name] <= most {
		return ""
	}
	return fmt.Sprintf("%s: %d after move %d, %d after move %d", name, first.value[name], first.move, last.value[name], last.move)
}

func pauses(ms []int64) string {
	if len(ms) == 0 {
		return "-\t-"
	}
	return fmt.Sprintf("%d ms\t%d ms", median(ms), slices.Max(ms))
}

func median[T int64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func either(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}
