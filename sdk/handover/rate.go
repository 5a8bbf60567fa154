package handover

import "time"

// rateWindow is how far back a rate looks.
const rateWindow = 2 * time.Second

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

func (r *rate) reset() { r.samples = r.samples[:0] }

// observe notes that n messages have been counted in all by the time at.
func (r *rate) observe(at time.Duration, n uint64) {
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
