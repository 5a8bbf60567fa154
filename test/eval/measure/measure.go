// Package measure computes what an evaluation says of a run: how long nothing was
// processed though something was due, and how long messages took. It is pure.
package measure

import (
	"slices"
	"time"

	"ms2m.dev/ms2m/examples/load"
)

// Event is a message that was processed: when it was due at its producer and when
// its first output came, by the same clock.
type Event struct{ Due, Out time.Time }

// Events are the messages that outputs came of, in the order of the first output of
// each. What was put out again, by a refill, is not processed anew.
func Events(due map[string][]time.Time, outputs []load.Output) []Event {
	type message struct {
		producer string
		seq      uint64
	}
	seen := make(map[message]bool, len(outputs))
	events := make([]Event, 0, len(outputs))
	for _, o := range outputs {
		times, m := due[o.Producer], message{o.Producer, o.Seq}
		if seen[m] || o.Seq == 0 || o.Seq > uint64(len(times)) {
			continue
		}
		seen[m] = true
		events = append(events, Event{Due: times[o.Seq-1], Out: o.At})
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.Out.Compare(b.Out) })
	return events
}

// Gaps looks at the times between two outputs that overlap the time from begin to
// end, as far as a message was due in them: that there is nothing to do is no gap. The
// sum is of those longer than least.
func Gaps(events []Event, begin, end time.Time, least time.Duration) (longest, sum time.Duration) {
	open := make([]time.Time, len(events)) // the earliest that is due and not yet out
	for i := len(events) - 1; i >= 0; i-- {
		open[i] = events[i].Due
		if i+1 < len(events) && open[i+1].Before(open[i]) {
			open[i] = open[i+1]
		}
	}
	for i := 1; i < len(events); i++ {
		from, to := events[i-1].Out, events[i].Out
		if open[i].After(from) {
			from = open[i]
		}
		if !to.After(begin) || !from.Before(end) {
			continue
		}
		gap := to.Sub(from)
		longest = max(longest, gap)
		if gap > least {
			sum += gap
		}
	}
	return longest, sum
}

// Latency is how long messages took from being due to their output.
type Latency struct {
	N                int
	Median, P99, Max time.Duration
}

// Latencies are those of the messages that were due before begin, from begin to end,
// and after end.
func Latencies(events []Event, begin, end time.Time) (before, during, after Latency) {
	var took [3][]time.Duration
	for _, e := range events {
		which := 1
		switch {
		case e.Due.Before(begin):
			which = 0
		case e.Due.After(end):
			which = 2
		}
		took[which] = append(took[which], e.Out.Sub(e.Due))
	}
	return latency(took[0]), latency(took[1]), latency(took[2])
}

func latency(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	return Latency{N: len(took), Median: Median(took), P99: Quantile(took, 0.99), Max: slices.Max(took)}
}

// Median is the value in the middle, of an even number the mean of the two in the
// middle; of none it is zero.
func Median[T ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	low, high := sorted[(len(sorted)-1)/2], sorted[len(sorted)/2]
	return low + (high-low)/2
}

// Quantile is the least value that the share q of all is not above; of none it is zero.
func Quantile[T ~int64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(q * float64(len(sorted)))
	if float64(rank) < q*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}
