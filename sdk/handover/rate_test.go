package handover

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// handles has a service that lives handle messages of so much work, begun so far apart, for a
// time, and returns where it stands then.
func handles(concurrency int, every, work, long time.Duration) Status {
	in := New(Config{Prefetch: 4, Concurrency: concurrency})
	in.Step(0, Looked{Pod: "source"})
	in.Step(0, Connected{Pod: "source"})
	for i, now := 0, time.Duration(0); now < long; i, now = i+1, now+every {
		for _, e := range in.Step(now, Delivered{Tag: uint64(i), Identity: fmt.Sprint(i)}) {
			if b, ok := e.(Begin); ok {
				in.Step(now+work, Handled{Item: b.Item, Outcome: Done})
				in.Step(now+work, OutputsConfirmed(b))
			}
		}
	}
	return in.Status()
}

// TestCapacity: an owner tells what it handles, and what it could, before anybody asks.
func TestCapacity(t *testing.T) {
	for _, test := range []struct {
		concurrency    int
		every, work    time.Duration
		rate, capacity float64
	}{
		{concurrency: 1, every: 25 * time.Millisecond, work: 10 * time.Millisecond, rate: 40, capacity: 100},
		{concurrency: 1, every: 10 * time.Millisecond, work: 10 * time.Millisecond, rate: 100, capacity: 100},
		{every: time.Second, work: 5 * time.Millisecond, rate: 1, capacity: 200},
		{concurrency: 1, every: time.Millisecond, work: time.Millisecond / 4, rate: 1000, capacity: 4000},
		{concurrency: 2, every: 25 * time.Millisecond, work: 10 * time.Millisecond, rate: 40},
	} {
		s := handles(test.concurrency, test.every, test.work, 10*time.Second)
		if near := func(a, b float64) bool { return math.Abs(a-b) <= b/100 }; !near(s.Rate, test.rate) || !near(s.Capacity, test.capacity) {
			t.Errorf("%+v: it says %.1f/s of %.1f/s", test, s.Rate, s.Capacity)
		}
	}
}

// TestRateOfAnIdleSource: what a source did long ago is not what it does, when it is
// asked to go on after its checkpoint.
func TestRateOfAnIdleSource(t *testing.T) {
	b := newBench(t, 1)
	for i := range 50 {
		b.now += 10 * time.Millisecond
		b.more(fmt.Sprint("m-", i))
	}
	if s := b.p.in.Status(); math.Abs(s.Rate-100) > 5 {
		t.Fatalf("%.1f/s while it works", s.Rate)
	}
	b.now += time.Minute
	b.reach(Paused)
	if r := b.do(b.p, Resume); r.Kind != ReportRelaying || r.Status.Rate > 2 {
		t.Fatalf("%s with %.1f/s", r.Kind, r.Status.Rate)
	}
}

// TestRateIsBounded: however many are counted, a rate keeps no more samples.
func TestRateIsBounded(t *testing.T) {
	var r rate
	for i := range 100_000 {
		r.observe(time.Duration(i)*100*time.Microsecond, uint64(i))
		if len(r.samples) > 2*int(rateWindow/rateSpacing) {
			t.Fatalf("%d samples after %d", len(r.samples), i)
		}
	}
	if got := r.perSecond(); math.Abs(got-10_000) > 100 {
		t.Fatalf("%.0f/s", got)
	}
}
