package main

import (
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/eval/report"
)

func some() options {
	return options{
		rates: list[float64]{[]float64{10, 100}, rate}, slow: list[float64]{[]float64{1}, rate}, fast: list[float64]{[]float64{500}, rate},
		memory: list[int]{values: []int{0, 256}}, scale: list[int]{values: []int{1, 10}}, ballast: 24,
		ways: list[report.Way]{report.Ways(), way}, more: list[report.Way]{[]report.Way{report.Pod}, way}, repeats: 4, seed: 3,
	}
}

// TestOrder: every round has every case once, in an order that the seed gives, and not
// the same in each.
func TestOrder(t *testing.T) {
	o := some()
	rounds := o.order()
	if len(rounds) != o.repeats {
		t.Fatalf("%d rounds", len(rounds))
	}
	for i, round := range rounds {
		seen := make(map[report.Case]int)
		for _, c := range round {
			seen[c]++
		}
		for _, c := range o.cases() {
			if seen[c] != 1 {
				t.Errorf("round %d has %v %d times", i+1, c, seen[c])
			}
		}
		if len(round) != 3*len(report.Ways())+1+2+2 {
			t.Errorf("round %d has %d cases", i+1, len(round))
		}
	}
	if reflect.DeepEqual(rounds[0], rounds[1]) || reflect.DeepEqual(rounds[0], o.cases()) {
		t.Error("the rounds are not shuffled")
	}
	if !reflect.DeepEqual(rounds, o.order()) {
		t.Error("the same seed gives another order")
	}
	o.seed++
	if reflect.DeepEqual(rounds, o.order()) {
		t.Error("another seed gives the same order")
	}
}

// TestCases: each part has its cases, with what it is about; the floor is measured with
// the sizes that are compared with it.
func TestCases(t *testing.T) {
	o := some()
	count := make(map[report.Part]int)
	for _, c := range o.cases() {
		count[c.Part]++
		if c.Services < 1 || c.Rate <= 0 || (c.Work == 0) != (c.Part == report.Fast) {
			t.Errorf("%+v", c)
		}
	}
	want := map[report.Part]int{report.Rates: 3 * len(report.Ways()), report.Memory: 2, report.Fast: 1, report.Scale: 2}
	if !reflect.DeepEqual(count, want) {
		t.Errorf("%v, want %v", count, want)
	}
	if got := o.sizes(); !reflect.DeepEqual(got, []int{0, 24, 256}) {
		t.Errorf("sizes %v", got)
	}
	if got, want := o.planned(), o.repeats*(3*len(report.Ways())+1+2+11); got != want {
		t.Errorf("%d runs are planned, want %d", got, want)
	}
}

// TestParse: who says an experiment wants that alone, also in a smaller evaluation.
func TestParse(t *testing.T) {
	type numbers struct{ rates, slow, memory, fast, scale, repeats int }
	of := func(o options) numbers {
		return numbers{len(o.rates.values), len(o.slow.values), len(o.memory.values), len(o.fast.values), len(o.scale.values), o.repeats}
	}
	for line, want := range map[string]numbers{
		"":                                  {7, 7, 4, 7, 3, 10},
		"-rates 20,40":                      {2, 0, 0, 0, 0, 10},
		"-memory 1 -scale 5 -repeats 2":     {0, 0, 1, 0, 1, 2},
		"-small":                            {2, 0, 1, 1, 1, 1},
		"-small -fast 1,2,3":                {0, 0, 0, 3, 0, 1},
		"-check":                            {1, 0, 1, 0, 0, 3},
		"-check -repeats 1 -rates 20 -slow": {}, // a flag without its value
		"-small -check":                     {},
		"-rates 0":                          {},
		"-scale 1000":                       {},
		"-memory -1":                        {},
		"-ballast 9999":                     {},
		"-active -1":                        {},
		"-rates= -slow=":                    {},
		"spare":                             {},
	} {
		o, err := parse(strings.Fields(line))
		switch bad := want == (numbers{}); {
		case bad != (err != nil):
			t.Errorf("%q: %v", line, err)
		case !bad && of(o) != want:
			t.Errorf("%q: %+v, want %+v", line, of(o), want)
		}
	}
	if o, err := parse(strings.Fields("-check -warm 7s")); err != nil || o.warm != 7*time.Second || !o.check {
		t.Errorf("what is said does not hold: %+v, %v", o, err)
	}
}

// TestHopeless: what is above a rate that was not taken is not tried; other parts say nothing of it.
func TestHopeless(t *testing.T) {
	runs := []report.Run{
		{Case: report.Case{Part: report.Fast, Rate: 1000}, SentRate: 500}, {Case: report.Case{Part: report.Fast, Rate: 500}, SentRate: 499},
		{Case: report.Case{Part: report.Rates, Rate: 100}, SentRate: 10},
	}
	if hopeless(1000, runs) || hopeless(500, runs) || !hopeless(2000, runs) || hopeless(2000, runs[1:]) || hopeless(2000, nil) {
		t.Error("a rate is left out, or tried, that should not be")
	}
}

// TestAtOnce: every number once, no more at a time than said.
func TestAtOnce(t *testing.T) {
	var now, most, calls atomic.Int32
	atOnce(20, 3, func(int) {
		most.Store(max(most.Load(), now.Add(1)))
		calls.Add(1)
		now.Add(-1)
	})
	if calls.Load() != 20 || most.Load() > 3 {
		t.Errorf("%d calls, %d at a time", calls.Load(), most.Load())
	}
}

func TestFlags(t *testing.T) {
	l := list[float64]{parse: rate}
	if err := l.Set("1,2.5"); err != nil || !reflect.DeepEqual(l.values, []float64{1, 2.5}) || l.String() != "1,2.5" {
		t.Errorf("%v, %v, %s", err, l.values, l.String())
	}
	if err := l.Set(""); err != nil || l.values != nil {
		t.Errorf("empty: %v, %v", err, l.values)
	}
	for _, bad := range []string{"x", "0", "-1", "NaN", "1e9", "1,,2"} {
		if l.Set(bad) == nil {
			t.Errorf("the rate %q is taken", bad)
		}
	}
	if _, err := way("teleport"); err == nil {
		t.Error("an unknown way is taken")
	}
}

// TestOfStatus: the present hand-over is not counted again when it is summed up already.
func TestOfStatus(t *testing.T) {
	of := func(ms int64) []v1alpha1.PhaseTime {
		return []v1alpha1.PhaseTime{
			{Phase: v1alpha1.PhaseReplaying, DurationMillis: &ms}, {Phase: v1alpha1.PhaseFinalizing}, {Phase: v1alpha1.PhaseCompleted, DurationMillis: &ms},
		}
	}
	hop := func(n int32, ms int64) v1alpha1.Hop {
		return v1alpha1.Hop{
			Hop: n, PhaseTimes: of(ms), Pauses: &v1alpha1.Pauses{
				HandoverMillis: &ms, Checkpoint: &v1alpha1.CheckpointPause{Node: &v1alpha1.CheckpointTimes{FreezingMillis: ms / 2, FrozenMillis: ms / 2}},
			}, CheckpointImage: &v1alpha1.CheckpointImage{SizeBytes: ms, ArchiveBytes: 2 * ms},
		}
	}
	for name, s := range map[string]v1alpha1.StatefulMigrationStatus{
		"summed up": {Hop: 2, Hops: []v1alpha1.Hop{hop(1, 100), hop(2, 20)}, PhaseTimes: of(20), Pauses: hop(2, 20).Pauses, CheckpointImage: hop(2, 20).CheckpointImage},
		"under way": {Hop: 2, Hops: []v1alpha1.Hop{hop(1, 100)}, PhaseTimes: of(20), Pauses: hop(2, 20).Pauses, CheckpointImage: hop(2, 20).CheckpointImage},
		"only one":  {PhaseTimes: of(120), Pauses: hop(1, 120).Pauses, CheckpointImage: hop(1, 120).CheckpointImage},
	} {
		var r report.Run
		ofStatus(&r, s)
		want := report.Run{
			Phases:        map[v1alpha1.MigrationPhase]time.Duration{v1alpha1.PhaseReplaying: 120 * time.Millisecond},
			PauseHandover: 120 * time.Millisecond, Freeze: 120 * time.Millisecond, Image: 120, Archive: 240, Handovers: 2,
		}
		if name == "only one" {
			want.Handovers = 1
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestNumbers(t *testing.T) {
	if got, err := numbers("1 2 3 4\n"); err != nil || got != [4]int64{1, 2, 3, 4} {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "1 2 3", "1 2 3 x"} {
		if _, err := numbers(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
