package handover

import "time"

const (
	// rateWindow is how far back a rate looks.
	rateWindow = 2 * time.Second
	// rateSpacing is how fine it looks, so that it costs the same at any rate.
	rateSpacing = rateWindow / 40
)

// rate measures messages per second over the last rateWindow. What counts as
// time is the caller's choice: the clock for an arrival rate, busy time for the
// rate at which a target could go if it always had something to do.
type rate struct {
	samples []sample
}

type sample struct {
	at time.Duration
	n  uint64
}

// observe notes that n messages have been counted in all by the time at.
func (r *rate) observe(at time.Duration, n uint64) {
	if last := len(r.samples) - 1; last > 0 && r.samples[last].at < r.samples[last-1].at+rateSpacing {
		r.samples = r.samples[:last]
	}
	r.samples = append(r.samples, sample{at, n})
	cut := 0
	for cut < len(r.samples)-2 && r.samples[cut+1].at < at-rateWindow {
		cut++
	}
	r.samples = append(r.samples[:0], r.samples[cut:]...)
}

// perSecond is the measured rate, zero while unknown.
func (r *rate) perSecond() float64 {
	if len(r.samples) < 2 {
		return 0
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	if last.at <= first.at {
		return 0
	}
	return float64(last.n-first.n) / (last.at - first.at).Seconds()
}

// effort measures the rate of messages per second of the time in which a handler runs.
type effort struct {
	rate
	spent, from time.Duration // time in which one ran; since when it is not counted
}

// begins notes that a handler starts while none runs.
func (e *effort) begins(now time.Duration) { e.from = now }

// ended notes that one has come to its end, and n messages have in all.
func (e *effort) ended(now time.Duration, n uint64) {
	e.spent += now - e.from
	e.from = now
	e.observe(e.spent, n)
}
