package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/eval/measure"
)

var update = flag.Bool("update", false, "write the golden files anew")

const ms = time.Millisecond

// sample is a report with runs of several ways, one of which failed and one of which lost.
func sample() Report {
	begun := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	run := func(n, round int, way Way, rate float64, total time.Duration) Run {
		return Run{
			Case:   Case{Part: Rates, Way: way, Rate: rate, Work: 10 * ms, Ballast: 24, Services: 1},
			Number: n, Round: round, Begun: begun.Add(time.Duration(n) * time.Minute), Total: total,
			Phases:     map[v1alpha1.MigrationPhase]time.Duration{v1alpha1.PhaseCheckpointing: 500 * ms, v1alpha1.PhaseRestoring: total - 900*ms},
			LongestGap: 250 * ms, Gaps: 400 * ms, PauseCheckpoint: 250 * ms, Freeze: 110 * ms, PauseHandover: 80 * ms,
			SentRate: rate, DoneRate: 0.99 * rate,
			Before: measure.Latency{N: 50, Median: 12 * ms, P99: 20 * ms, Max: 21 * ms},
			During: measure.Latency{N: 40, Median: 15 * ms, P99: 260 * ms, Max: 261 * ms},
			Reads:  100, Refused: 1, Stale: 2, SlowestRead: 70 * ms, ReadError: "connection refused",
			Image: 24 << 20, Archive: 28 << 20, Handovers: 1, Judged: true, Sent: 1000, ChainEqual: true, SameProcess: true,
			Used:         map[string]measure.Usage{"manager": {CPU: 200 * ms, Memory: 50 << 20}, "beam.smp": {CPU: time.Second, Memory: 99 << 20}},
			CutoffReason: "CaughtUp",
		}
	}
	cold := run(2, 1, Cold, 10, 7*time.Second)
	cold.Phases = map[v1alpha1.MigrationPhase]time.Duration{ColdStop: time.Second, ColdStart: 2 * time.Second, ColdRefill: 4 * time.Second}
	cold.Forgotten, cold.SameProcess, cold.Outputs = 210, false, load.Tally{Doubled: 210}
	failed := run(4, 2, Pod, 10, 0)
	failed.Failed, failed.State, failed.LongestGap = "the migration failed:\nphase Failed, with a comma", load.Tally{Lost: 3}, time.Hour
	broken := run(6, 2, Cold, 17.5, 0)
	broken.Failed, broken.Judged = "start the service: no", false
	// A case of another part, changed.
	other := func(n int, c Case, total time.Duration, change func(*Run)) Run {
		r := run(n, 1, Pod, c.Rate, total)
		c.Way = Pod
		r.Case = c
		change(&r)
		return r
	}
	same := func(*Run) {}
	runs := []Run{
		run(1, 1, Pod, 10, 3*time.Second), cold, run(3, 2, Pod, 10, 4*time.Second), failed, run(5, 2, Sequential, 17.5, 11*time.Second), broken,
		other(7, Case{Part: Memory, Rate: 20, Work: 10 * ms, Ballast: 256, Services: 1}, 6*time.Second, func(r *Run) { r.Image = 256 << 20 }),
		other(8, Case{Part: Memory, Rate: 20, Work: 10 * ms, Ballast: 0, Services: 1}, 2*time.Second, func(r *Run) { r.Image = 1 << 20 }),
		other(9, Case{Part: Fast, Rate: 100, Ballast: 24, Services: 1}, 2*time.Second, same),
		other(10, Case{Part: Fast, Rate: 1000, Ballast: 24, Services: 1}, 3*time.Second, func(r *Run) { r.DoneRate = 600 }),
		other(11, Case{Part: Fast, Rate: 5000, Ballast: 24, Services: 1}, 9*time.Second, func(r *Run) { r.SentRate, r.DoneRate, r.CutoffReason = 2100, 600, "Outpaced" }),
		other(12, Case{Part: Scale, Rate: 3, Work: 10 * ms, Ballast: 24, Services: 2}, 5*time.Second, same),
		other(13, Case{Part: Scale, Rate: 3, Work: 10 * ms, Ballast: 24, Services: 2}, 7*time.Second, func(r *Run) { r.Begun, r.Queued = r.Begun.Add(-time.Minute+50*ms), 500*ms }),
	}
	return Report{
		Title: "A sample", Commit: "v1", Machine: []string{"two cores"}, Notes: []string{"a note"}, Began: begun, Seed: 7, Least: 100 * ms, Cutoff: 120, Active: 10,
		Runs: runs,
		Fleets: []Fleet{{
			Round: 1, Services: 2, Ready: 2, Starting: 3 * time.Second, Available: 9 << 30, Watchers: 64,
			Used: map[string]measure.Usage{"manager": {CPU: 400 * ms, Memory: 60 << 20}},
		}, {Round: 2, Services: 50, Ready: 12, Missing: "too many\nwatchers"}},
		Floor: floor(),
	}
}

// floor is of two sizes of the memory; nothing was measured of a third.
func floor() (f Floor) {
	add := func(p Piece, mib int, bytes int64, took ...time.Duration) {
		for i, t := range took {
			f.Measured = append(f.Measured, Measured{Round: i + 1, Piece: p, MiB: mib, Bytes: bytes, Took: t})
		}
	}
	for _, mib := range []int{24, 256} {
		size, scale := int64(mib+5)<<20, time.Duration(mib)
		add(Dump, mib, size, 3*scale*ms, 2*scale*ms, 9*scale*ms)
		add(Copy, mib, size, scale*ms)
		add(Restore, mib, size, 2*scale*ms, 3*scale*ms)
	}
	add(PodStart, 0, 0, 800*ms)
	add(PodEnd, 0, 0, 300*ms)
	add(RoundTrip, 0, 0, 200*time.Microsecond)
	add(Write, 0, 0, 3*ms)
	return f
}

// TestGolden: the same runs give the same bytes; `go test -update` writes them anew.
func TestGolden(t *testing.T) {
	r := sample()
	files := map[string]func(io.Writer) error{
		"runs.csv":  func(w io.Writer) error { return WriteCSV(w, r.Runs) },
		"floor.csv": r.Floor.WriteCSV,
		"report.md": r.WriteMarkdown,
	}
	for name, plot := range r.Plots() {
		files[name] = plot.WriteSVG
	}
	if len(files) != 9 {
		t.Errorf("%d files", len(files))
	}
	for name, write := range files {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("differs from %s:\n%s", golden, got.Bytes())
			}
			if filepath.Ext(name) == ".svg" {
				wellFormed(t, got.Bytes())
			}
		})
	}
}

func wellFormed(t *testing.T, text []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		switch _, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
}

// TestNoRunLeftOut: every run is a line of the CSV file, those that failed with their reason.
func TestNoRunLeftOut(t *testing.T) {
	runs := sample().Runs
	var out bytes.Buffer
	if err := WriteCSV(&out, runs); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != len(runs)+1 {
		t.Fatalf("%d lines of %d runs", len(lines), len(runs))
	}
	column := slices.Index(lines[0], "failed")
	for i, r := range runs {
		if got := lines[i+1][column]; column < 0 || got != r.Failed {
			t.Errorf("run %d: failed is %q", r.Number, got)
		}
	}
}

// TestFailedMakeNoMedian: a run that failed changes no figure but is counted and named.
func TestFailedMakeNoMedian(t *testing.T) {
	r := sample()
	cell := times(func(r Run) time.Duration { return r.LongestGap })(of(r.part(Rates), func(r Run) bool { return r.Way == Pod }))
	if cell != "0.25 (0.25–0.25), 1 failed" {
		t.Errorf("%q", cell)
	}
	var s strings.Builder
	if err := r.WriteMarkdown(&s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"run 4, shadow-pod at 10/s", "the migration failed:; phase Failed", "13 runs, 2 of which failed", "*7.7* | *45.4*"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("no %q in the report", want)
		}
	}
}

func TestOK(t *testing.T) {
	for name, spoil := range map[string]func(*Run){
		"failed": func(r *Run) { r.Failed = "any" }, "not judged": func(r *Run) { r.Judged = false },
		"lost": func(r *Run) { r.State.Lost = 1 }, "another chain": func(r *Run) { r.ChainEqual = false },
	} {
		r := sample().Runs[0]
		if !r.OK() {
			t.Fatal("a good run is not OK")
		}
		if spoil(&r); r.OK() {
			t.Errorf("%s: OK", name)
		}
	}
}

// TestNothing: a report without runs, or with none that came to its end, is one all the same.
func TestNothing(t *testing.T) {
	for _, r := range []Report{{Floor: Floor{Missing: "no CRIU"}}, {Runs: sample().Runs[5:6]}, {Runs: hopeless()}} {
		if err := r.WriteMarkdown(io.Discard); err != nil {
			t.Error(err)
		}
		for _, p := range r.Plots() {
			var out bytes.Buffer
			if err := p.WriteSVG(&out); err != nil || bytes.Contains(out.Bytes(), []byte("NaN")) || bytes.Contains(out.Bytes(), []byte("Inf")) {
				t.Errorf("%v\n%s", err, out.Bytes())
			}
		}
	}
}

// hopeless are runs of every part, none of which came to its end.
func hopeless() []Run {
	runs := sample().Runs
	for i := range runs {
		runs[i] = Run{Case: runs[i].Case, Number: i + 1, Failed: "any"}
	}
	return runs
}

func TestAxes(t *testing.T) {
	p := Plot{Lines: []Line{{Points: []Point{{10, 0.3}, {120, 45}, {60, 0}}}}}
	x0, x1, y0, y1 := p.bounds()
	if x0 != 10 || x1 != 120 || math.Abs(y0-0.1) > 1e-9 || y1 != 100 {
		t.Errorf("%v–%v, %v–%v", x0, x1, y0, y1)
	}
}
