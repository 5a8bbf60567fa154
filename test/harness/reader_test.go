package harness

import (
	"errors"
	"testing"
	"time"
)

// TestJudgeReads judges reads of which it is known whether they go back.
func TestJudgeReads(t *testing.T) {
	start := time.Now()
	at := func(begin, end int, count uint64) read {
		ms := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
		return read{begin: ms(begin), end: ms(end), count: count}
	}
	failed := at(5, 6, 0)
	failed.err = errors.New("refused")
	for name, tc := range map[string]struct {
		reads  []read
		stale  int
		by     time.Duration
		errors int
	}{
		"none":       {},
		"growing":    {reads: []read{at(0, 1, 1), at(2, 3, 1), at(4, 5, 7)}},
		"an error":   {reads: []read{at(0, 1, 9), failed, at(7, 8, 9)}, errors: 1},
		"overlap":    {reads: []read{at(0, 10, 9), at(9, 11, 3)}},
		"goes back":  {reads: []read{at(0, 1, 9), at(2, 4, 8)}, stale: 1, by: 3 * time.Millisecond},
		"late order": {reads: []read{at(2, 4, 8), at(0, 1, 9)}, stale: 1, by: 3 * time.Millisecond},
		// The count 8 was outdated by the first 9, the count 10 was not.
		"since the first newer": {
			reads: []read{at(0, 1, 5), at(2, 3, 9), at(4, 5, 10), at(20, 21, 8), at(22, 23, 10)},
			stale: 1, by: 18 * time.Millisecond},
		"all stale": {reads: []read{at(0, 1, 5), at(2, 3, 4), at(4, 6, 4)}, stale: 2, by: 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			r := judgeReads(tc.reads)
			if r.Number != len(tc.reads) || r.Stale != tc.stale || r.Staleness != tc.by || len(r.Errors) != tc.errors {
				t.Errorf("%v, want %d stale by %v, %d errors", r, tc.stale, tc.by, tc.errors)
			}
		})
	}
}

func TestSeries(t *testing.T) {
	start := time.Now()
	var s Series
	for i, n := range []int{3, 3, 2, 1, 3, 2} {
		s.add(n, start.Add(time.Duration(i)*time.Second))
	}
	if s.Min() != 1 || len(s) != 5 {
		t.Errorf("%v", s)
	}
	if d := s.Below(3, start.Add(7*time.Second)); d != 4*time.Second {
		t.Errorf("below 3 for %v, want 2 s and 2 s", d)
	}
}
