package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sample is a number at a time, by our clock.
type Sample struct {
	At time.Time
	N  int
}

// Series is a number and its changes.
type Series []Sample

func (s *Series) add(n int, at time.Time) {
	if len(*s) == 0 || (*s)[len(*s)-1].N != n {
		*s = append(*s, Sample{at, n})
	}
}

// Min is the least that the number was.
func (s Series) Min() int {
	return slices.MinFunc(s, func(a, b Sample) int { return a.N - b.N }).N
}

// Below is how long in all the number was less than n, until the time end.
func (s Series) Below(n int, end time.Time) time.Duration {
	var sum time.Duration
	for i, sample := range s {
		until := end
		if i+1 < len(s) {
			until = s[i+1].At
		}
		if sample.N < n {
			sum += until.Sub(sample.At)
		}
	}
	return sum
}

// String tells the changes with the seconds since the first.
func (s Series) String() string {
	var parts []string
	for _, sample := range s {
		parts = append(parts, fmt.Sprintf("%.2f s: %d", sample.At.Sub(s[0].At).Seconds(), sample.N))
	}
	return strings.Join(parts, ", ")
}
