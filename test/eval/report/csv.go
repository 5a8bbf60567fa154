package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"ms2m.dev/ms2m/test/eval/measure"
)

// column is one of the CSV file's.
type column struct {
	name string
	of   func(Run) string
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func columns() []column {
	all := []column{
		{"number", func(r Run) string { return strconv.Itoa(r.Number) }},
		{"begun", func(r Run) string { return r.Begun.UTC().Format(time.RFC3339) }},
		{"round", func(r Run) string { return strconv.Itoa(r.Round) }},
		{"part", func(r Run) string { return string(r.Part) }},
		{"way", func(r Run) string { return string(r.Way) }},
		{"rate", func(r Run) string { return number(r.Rate) }},
		{"work_ms", func(r Run) string { return millis(r.Work) }},
		{"ballast_mib", func(r Run) string { return strconv.Itoa(r.Ballast) }},
		{"services", func(r Run) string { return strconv.Itoa(r.Services) }},
		{"sent_per_second", func(r Run) string { return strconv.FormatFloat(r.SentRate, 'f', 1, 64) }},
		{"done_per_second", func(r Run) string { return strconv.FormatFloat(r.DoneRate, 'f', 1, 64) }},
		{"failed", func(r Run) string { return r.Failed }},
		{"total_ms", func(r Run) string { return millis(r.Total) }},
		{"queued_ms", func(r Run) string { return millis(r.Queued) }},
	}
	for _, p := range append(append(Phases[:0:0], Phases...), ColdStop, ColdStart, ColdRefill) {
		all = append(all, column{string(p) + "_ms", func(r Run) string {
			if took, ok := r.Phases[p]; ok {
				return millis(took)
			}
			return ""
		}})
	}
	all = append(all,
		column{"longest_gap_ms", func(r Run) string { return millis(r.LongestGap) }},
		column{"gaps_ms", func(r Run) string { return millis(r.Gaps) }},
		column{"pause_checkpoint_ms", func(r Run) string { return millis(r.PauseCheckpoint) }},
		column{"freeze_ms", func(r Run) string { return millis(r.Freeze) }},
		column{"pause_handover_ms", func(r Run) string { return millis(r.PauseHandover) }},
		column{"cutoff", func(r Run) string { return r.CutoffReason }})
	for _, l := range []struct {
		name string
		of   func(Run) measure.Latency
	}{
		{"before", func(r Run) measure.Latency { return r.Before }},
		{"during", func(r Run) measure.Latency { return r.During }},
		{"after", func(r Run) measure.Latency { return r.After }},
	} {
		all = append(all,
			column{l.name + "_n", func(r Run) string { return strconv.Itoa(l.of(r).N) }},
			column{l.name + "_median_ms", func(r Run) string { return millis(l.of(r).Median) }},
			column{l.name + "_p99_ms", func(r Run) string { return millis(l.of(r).P99) }},
			column{l.name + "_max_ms", func(r Run) string { return millis(l.of(r).Max) }})
	}
	count := func(name string, of func(Run) uint64) column {
		return column{name, func(r Run) string { return strconv.FormatUint(of(r), 10) }}
	}
	all = append(all,
		count("reads", func(r Run) uint64 { return uint64(r.Reads) }),
		count("reads_refused", func(r Run) uint64 { return uint64(r.Refused) }),
		count("reads_stale", func(r Run) uint64 { return uint64(r.Stale) }),
		column{"read_error", func(r Run) string { return r.ReadError }},
		column{"read_slowest_ms", func(r Run) string { return millis(r.SlowestRead) }},
		count("image_bytes", func(r Run) uint64 { return uint64(r.Image) }),
		count("archive_bytes", func(r Run) uint64 { return uint64(r.Archive) }),
		count("handovers", func(r Run) uint64 { return uint64(r.Handovers) }),
		column{"judged", func(r Run) string { return strconv.FormatBool(r.Judged) }},
		count("sent", func(r Run) uint64 { return r.Sent }),
		count("state_lost", func(r Run) uint64 { return r.State.Lost }),
		count("state_doubled", func(r Run) uint64 { return r.State.Doubled }),
		count("state_reordered", func(r Run) uint64 { return r.State.Reordered }),
		count("outputs_lost", func(r Run) uint64 { return r.Outputs.Lost }),
		count("outputs_doubled", func(r Run) uint64 { return r.Outputs.Doubled }),
		count("outputs_reordered", func(r Run) uint64 { return r.Outputs.Reordered }),
		count("forgotten", func(r Run) uint64 { return r.Forgotten }),
		column{"chain_equal", func(r Run) string { return strconv.FormatBool(r.ChainEqual) }},
		column{"same_process", func(r Run) string { return strconv.FormatBool(r.SameProcess) }})
	for _, p := range Programs {
		all = append(all,
			column{p + "_cpu_ms", func(r Run) string { return millis(r.Used[p].CPU) }},
			column{p + "_memory_bytes", func(r Run) string { return strconv.FormatInt(r.Used[p].Memory, 10) }})
	}
	return all
}

// WriteCSV writes every run in a line, in the order in which they were made.
func WriteCSV(w io.Writer, runs []Run) error {
	all := columns()
	out := csv.NewWriter(w)
	line := make([]string, len(all))
	for i, c := range all {
		line[i] = c.name
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for _, r := range runs {
		for i, c := range all {
			line[i] = c.of(r)
		}
		if err := out.Write(line); err != nil {
			return fmt.Errorf("run %d: %w", r.Number, err)
		}
	}
	out.Flush()
	return out.Error()
}

// number is a rate without needless digits.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
