package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/eval/measure"
)

// Piece is a part of a migration that takes its time whoever does it.
type Piece string

// The pieces. The first three depend on the size of the memory.
const (
	Dump      Piece = "CRIU dump"
	Copy      Piece = "copy of the images"
	Restore   Piece = "CRIU restore"
	RoundTrip Piece = "round trip of the broker"
	Write     Piece = "write to the API server"
	PodStart  Piece = "start of an empty pod"
	PodEnd    Piece = "end of an empty pod"
)

// Measured is one measurement of a piece.
type Measured struct {
	Round int
	Piece Piece
	MiB   int   // of noise in the process, if the piece depends on it
	Bytes int64 // of CRIU's images, if there are any
	Took  time.Duration
}

// Floor is what the pieces of a migration take by themselves.
type Floor struct {
	Measured []Measured
	Missing  string // why there is none, or not of every round
}

func (p Piece) sized() bool { return p == Dump || p == Copy || p == Restore }

// of are the times of a piece, with so much memory if it depends on it.
func (f Floor) of(p Piece, mib int) []time.Duration {
	var all []time.Duration
	for _, m := range f.Measured {
		if m.Piece == p && (!p.sized() || m.MiB == mib) {
			all = append(all, m.Took)
		}
	}
	return all
}

// bytes is the size of CRIU's images of so much memory.
func (f Floor) bytes(mib int) int64 {
	i := slices.IndexFunc(f.Measured, func(m Measured) bool { return m.Piece == Dump && m.MiB == mib })
	if i < 0 {
		return 0
	}
	return f.Measured[i].Bytes
}

// WriteCSV writes every measurement in a line.
func (f Floor) WriteCSV(w io.Writer) error {
	lines := [][]string{{"round", "piece", "mib", "bytes", "us"}}
	for _, m := range f.Measured {
		mib := ""
		if m.Piece.sized() {
			mib = strconv.Itoa(m.MiB)
		}
		lines = append(lines, []string{
			strconv.Itoa(m.Round), string(m.Piece), mib, strconv.FormatInt(m.Bytes, 10), strconv.FormatInt(m.Took.Microseconds(), 10),
		})
	}
	return csv.NewWriter(w).WriteAll(lines)
}

// least is so often a piece.
type least struct {
	times int
	piece Piece
}

// comparison is of a time of a migration with what of it is needed in any case.
type comparison struct {
	what  string
	value func(Run) time.Duration
	least []least
}

// comparisons are those of the report, in its order.
func comparisons() []comparison {
	phase := func(p v1alpha1.MigrationPhase, floor ...least) comparison {
		return comparison{string(p), func(r Run) time.Duration { return r.Phases[p] }, floor}
	}
	return []comparison{
		phase(v1alpha1.PhasePending, least{2, Write}),
		{"pause at the checkpoint", func(r Run) time.Duration { return r.PauseCheckpoint }, []least{{1, Dump}}},
		phase(v1alpha1.PhaseCheckpointing, least{1, Dump}),
		phase(v1alpha1.PhaseTransferring, least{1, Copy}),
		phase(v1alpha1.PhaseRestoring, least{1, Restore}),
		phase(v1alpha1.PhaseRestoring, least{1, Restore}, least{1, PodStart}),
		{"pause at the hand-over", func(r Run) time.Duration { return r.PauseHandover }, []least{{4, RoundTrip}, {1, Write}}},
		phase(v1alpha1.PhaseFinalizing, least{1, PodEnd}),
		{"total time", func(r Run) time.Duration { return r.Total }, []least{{1, Dump}, {1, Copy}, {1, Restore}, {1, PodStart}, {1, PodEnd}}},
	}
}

// floor says what a time is compared with.
func (c comparison) floor() string {
	var parts []string
	for _, l := range c.least {
		if l.times == 1 {
			parts = append(parts, string(l.piece))
		} else {
			parts = append(parts, fmt.Sprintf("%d × %s", l.times, l.piece))
		}
	}
	return strings.Join(parts, " + ")
}

// compared is a time and its floor: medians.
type compared struct {
	took, least time.Duration
	ok          bool // both were measured
}

func (c compared) ratio() float64 { return c.took.Seconds() / c.least.Seconds() }

// pods are the bare pods with so much memory that were moved one at a time by a
// consumer that can keep up.
func (r Report) pods(mib int) []Run {
	return of(complete(r.Runs), func(r Run) bool {
		return r.Way == Pod && r.Ballast == mib && (r.Part == Rates || r.Part == Memory)
	})
}

// compare compares a time of the bare pod with its floor.
func (r Report) compare(c comparison, mib int) compared {
	pods := r.pods(mib)
	f := compared{took: measure.Median(each(pods, c.value)), ok: len(pods) > 0}
	for _, l := range c.least {
		took := r.Floor.of(l.piece, mib)
		f.least += time.Duration(l.times) * measure.Median(took)
		f.ok = f.ok && len(took) > 0
	}
	f.ok = f.ok && f.least > 0
	return f
}

// floor compares the times of the bare pod with what their work takes by itself.
func (r Report) floor(s *strings.Builder) {
	s.WriteString("\n## The floor\n\n")
	if r.Floor.Missing != "" {
		fmt.Fprintf(s, "Not measured, or not in every round: %s\n\n", strings.ReplaceAll(r.Floor.Missing, "\n", "; "))
	}
	if len(r.Floor.Measured) == 0 {
		return
	}
	s.WriteString("What the pieces of a migration take by themselves, on the same machine in the same rounds; every measurement is in [floor.csv](floor.csv). CRIU alone: a process of as much memory, dumped, its images copied once on the same disk (the nodes share it; a network would be slower), restored from the copy. " +
		"An empty pod: the same image and probes, nothing in its memory, from creating it to ready and from deleting it to gone. The broker's round trip: a persistent message published, confirmed and delivered. Seconds.\n\n")
	pieces := table{head: []string{"piece", "takes", "CRIU's images, MiB"}}
	var measured []int
	for _, m := range r.Floor.Measured {
		if m.Piece.sized() {
			measured = append(measured, m.MiB)
		}
	}
	measured = unique(measured)
	for _, p := range []Piece{Dump, Copy, Restore} {
		for _, mib := range measured {
			pieces.rows = append(pieces.rows, []string{fmt.Sprintf("%s, %d MiB", p, mib), precise(r.Floor.of(p, mib)), mebibytes(r.Floor.bytes(mib))})
		}
	}
	for _, p := range []Piece{PodStart, PodEnd, RoundTrip, Write} {
		pieces.rows = append(pieces.rows, []string{string(p), precise(r.Floor.of(p, 0)), ""})
	}
	s.WriteString(pieces.String())
	s.WriteString("\nThe bare pod's times, and what of them is needed in any case: median / floor = **ratio**, by the MiB of noise in the memory. The goal of each phase is 1.3 at 256 MiB, of the pause at the checkpoint CRIU's own freeze and 30 ms.\n\n")
	all := table{head: []string{"time", "floor"}}
	for _, mib := range measured {
		all.head = append(all.head, fmt.Sprintf("%d MiB", mib))
	}
	for _, c := range comparisons() {
		row := []string{c.what, c.floor()}
		for _, mib := range measured {
			cell := "–"
			if f := r.compare(c, mib); f.ok {
				cell = fmt.Sprintf("%.3f / %.3f = **%.1f**", f.took.Seconds(), f.least.Seconds(), f.ratio())
			}
			row = append(row, cell)
		}
		all.rows = append(all.rows, row)
	}
	s.WriteString(all.String())
	s.WriteString("\nReplaying has no floor of this kind: it is bounded by the messages that came meanwhile and the consumer's own time for them.\n")
}

// precise is spread with two digits more.
func precise(took []time.Duration) string {
	if len(took) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.4f (%.4f–%.4f)", measure.Median(took).Seconds(), slices.Min(took).Seconds(), slices.Max(took).Seconds())
}
