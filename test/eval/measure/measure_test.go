package measure

import (
	"testing"
	"time"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/load"
)

var zero = time.Unix(1_000, 0)

func at(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }

func out(producer string, seq uint64, ms int) load.Output {
	return load.Output{Entry: ledger.Entry{Producer: producer, Seq: seq}, At: at(ms)}
}

func TestEvents(t *testing.T) {
	due := map[string][]time.Time{"p1": {at(0), at(10)}, "p2": {at(5)}}
	got := Events(due, []load.Output{
		out("p1", 1, 3), out("p2", 1, 8), out("p1", 1, 20), // again
		out("p1", 2, 21), out("p1", 3, 22), out("p3", 1, 23), out("p1", 0, 24), // nobody's
	})
	want := []Event{{at(0), at(3)}, {at(5), at(8)}, {at(10), at(21)}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %v, want %v", i, got[i], want[i])
		}
	}
}

// TestGaps: waiting counts from when something is due, whoever is due first.
func TestGaps(t *testing.T) {
	events := []Event{
		{at(0), at(10)},
		{at(500), at(510)},  // idle before it
		{at(620), at(900)},  // the one after it was due earlier, at 600
		{at(600), at(910)},  // put out later all the same
		{at(905), at(1100)}, // due before the output before it
	}
	for name, tc := range map[string]struct {
		begin, end   int
		longest, sum int
	}{
		"all":                       {0, 2000, 300, 490},
		"only what ends after":      {910, 2000, 190, 190},
		"only what begins before":   {0, 700, 300, 300},
		"nothing":                   {1200, 2000, 0, 0},
		"a gap that lasts the time": {700, 800, 300, 300},
	} {
		longest, sum := Gaps(events, at(tc.begin), at(tc.end), 100*time.Millisecond)
		if longest != time.Duration(tc.longest)*time.Millisecond || sum != time.Duration(tc.sum)*time.Millisecond {
			t.Errorf("%s: longest %v, sum %v; want %d and %d ms", name, longest, sum, tc.longest, tc.sum)
		}
	}
	if longest, sum := Gaps(nil, at(0), at(1), 0); longest != 0 || sum != 0 {
		t.Errorf("of nothing: %v, %v", longest, sum)
	}
}

func TestLatencies(t *testing.T) {
	before, during, after := Latencies([]Event{{at(0), at(2)}, {at(10), at(14)}, {at(12), at(112)}, {at(20), at(28)}, {at(21), at(22)}}, at(10), at(20))
	ms := time.Millisecond
	if before != (Latency{1, 2 * ms, 2 * ms, 2 * ms}) || during != (Latency{3, 8 * ms, 100 * ms, 100 * ms}) || after != (Latency{1, ms, ms, ms}) {
		t.Errorf("%v %v %v", before, during, after)
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(100 - i)
	}
	for q, want := range map[float64]int64{0: 1, 0.01: 1, 0.5: 50, 0.99: 99, 0.995: 100, 1: 100} {
		if got := Quantile(hundred, q); got != want {
			t.Errorf("%v: %d, want %d", q, got, want)
		}
	}
	if got := Quantile([]int64{3, 1}, 0.5); got != 1 {
		t.Errorf("of two: %d", got)
	}
	if got := Quantile[int64](nil, 0.5); got != 0 {
		t.Errorf("of none: %d", got)
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		of   []int64
		want int64
	}{{nil, 0}, {[]int64{7}, 7}, {[]int64{9, 1}, 5}, {[]int64{9, 1, 2}, 2}, {[]int64{4, 1, 100, 2}, 3}} {
		if got := Median(tc.of); got != tc.want {
			t.Errorf("of %v: %d, want %d", tc.of, got, tc.want)
		}
	}
	if got := Median([]float64{1, 2}); got != 1.5 {
		t.Errorf("of fractions: %v", got)
	}
}

func TestProcesses(t *testing.T) {
	const stats = `7 (manager) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 1000 2000000 10 18446744073709551615 1 1
8 (a) (b) R 1 8 8 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 9 0 1000 2000000 3 18446744073709551615 1 1
9 (manager) S 1 9 9 0 -1 4194560 100 0 0 0 1 0 0 0 20 0 9 0 1000 2000000 1 18446744073709551615 1 1
`
	got, err := Processes(stats)
	if err != nil {
		t.Fatal(err)
	}
	if got["manager"] != (Usage{2010 * time.Millisecond, 11 * 4096}) || got["a) (b"] != (Usage{30 * time.Millisecond, 3 * 4096}) || len(got) != 2 {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"cat: no such file\n", "7 (manager) S 1\n", "7 (m) S 1 7 7 0 -1 4194560 100 0 0 0 x 50 0 0 20 0 9 0 1000 2000000 10 1\n"} {
		if _, err := Processes(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
