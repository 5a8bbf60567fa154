package handover

import (
	"slices"
	"testing"
	"time"
)

// paces asks a source that relays to keep a pace.
func (b *bench) paces(pace, holds time.Duration) Report {
	b.t.Helper()
	return b.do(b.p, Hello, func(c *Command) {
		c.PaceMillis, c.DeadlineMillis = pace.Milliseconds(), holds.Milliseconds()
	})
}

// more puts messages into the primary queue.
func (b *bench) more(ids ...string) {
	for _, id := range ids {
		b.b.primary = append(b.b.primary, simMessage{id: id})
	}
	b.flush()
}

// TestPace: a source that relays begins messages as far apart as it is asked to,
// and asks to be woken for it; when nobody asks any more it goes on as ever.
func TestPace(t *testing.T) {
	b := newBench(t, 1)
	b.reach(Relaying)
	if r := b.paces(40*time.Millisecond, 10*time.Second); r.Status.PaceMillis != 40 {
		t.Fatalf("it keeps a pace of %d ms", r.Status.PaceMillis)
	}
	b.now += time.Second
	b.more("a", "b", "c")
	applied := func(want ...string) {
		t.Helper()
		if got := b.p.applied[1:]; !slices.Equal(got, want) {
			t.Fatalf("applied %v, want %v", got, want)
		}
	}
	applied("a")
	if at := wakes(b.p.in); at != b.now+40*time.Millisecond {
		t.Fatalf("it wants to be woken %v later", at-b.now)
	}
	b.after(39 * time.Millisecond)
	applied("a")
	b.after(time.Millisecond)
	applied("a", "b")
	if r := b.do(b.p, Hello); r.Status.PaceMillis != 0 { // which says nothing of a pace
		t.Fatalf("it still keeps a pace of %d ms", r.Status.PaceMillis)
	}
	applied("a", "b", "c")
}

// TestPaceIsBounded: neither a manager that asks for too much nor one that is gone
// keeps a source from its messages.
func TestPaceIsBounded(t *testing.T) {
	const forever = 1<<63 - 1
	for name, c := range map[string]struct {
		pace, holds int64 // milliseconds
		after       time.Duration
	}{
		"by a second":             {pace: 3_600_000, holds: 60_000, after: time.Second},
		"by its time":             {pace: 1000, holds: 100, after: 100 * time.Millisecond},
		"without a time: none":    {pace: 1000},
		"a negative one: none":    {pace: -1000, holds: 60_000},
		"an overflowing one":      {pace: forever, holds: 60_000, after: time.Second},
		"an overflowing time":     {pace: 1000, holds: forever},
		"a time that is negative": {pace: 1000, holds: -1000},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			b.reach(Relaying)
			b.now += time.Second
			b.do(b.p, Hello, func(h *Command) { h.PaceMillis, h.DeadlineMillis = c.pace, c.holds })
			b.more("a", "b")
			if c.after > 0 {
				b.after(c.after - time.Millisecond)
				if slices.Contains(b.p.applied, "b") {
					t.Fatal("no pace is kept")
				}
				b.after(time.Millisecond)
			}
			if !slices.Contains(b.p.applied, "b") {
				t.Fatalf("applied %v", b.p.applied)
			}
		})
	}
}

// TestPaceBindsRelayingAlone: whatever ends Relaying does not wait for the pace, and
// takes it along nowhere.
func TestPaceBindsRelayingAlone(t *testing.T) {
	const pace = time.Second
	waiting := func(t *testing.T) *bench { // with messages that the pace keeps waiting
		b := newBench(t, 1)
		b.reach(Relaying)
		b.paces(pace, time.Minute)
		b.more("a", "b", "c")
		if len(b.p.in.buffer) == 0 {
			t.Fatal("nothing waits")
		}
		return b
	}
	t.Run("FREEZE", func(t *testing.T) {
		b := waiting(t)
		if r := b.do(b.p, Freeze); r.Kind != ReportFrozen || r.Status.PaceMillis != 0 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("PREPARE, and the next attempt", func(t *testing.T) {
		b := waiting(t)
		second := func(c *Command) { c.Attempt = 2 }
		if r := b.do(b.p, Prepare, second); r.Kind != ReportPrepared {
			t.Fatalf("%+v", r)
		}
		if r := b.paces(pace, time.Minute); r.Status.PaceMillis != 0 {
			t.Fatalf("paced while %s", r.Status.State)
		}
		b.do(b.p, Resume, second)
		if r := b.do(b.p, Hello, second); r.Status.PaceMillis != 0 || !slices.Contains(b.p.applied, "c") {
			t.Fatalf("%+v, applied %v", r, b.p.applied)
		}
	})
	t.Run("ABORT", func(t *testing.T) {
		b := waiting(t)
		b.b.decide(Aborted)
		b.do(b.p, Abort)
		if b.p.in.State() != Live || !slices.Contains(b.p.applied, "c") {
			t.Fatalf("%s, applied %v", b.p.in.State(), b.p.applied)
		}
	})
	t.Run("the end of the process", func(t *testing.T) {
		b := waiting(t)
		b.step(b.p, Stopping{})
		b.flush()
		if b.p.in.InHand() != 0 || wakes(b.p.in) == b.now+pace {
			t.Fatalf("%d in hand", b.p.in.InHand())
		}
	})
	t.Run("an image", func(t *testing.T) {
		b := waiting(t)
		b.do(b.p, Prepare, func(c *Command) { c.Attempt = 2 })
		c := b.p.copy("pod-b")
		b.procs = append(b.procs, c)
		b.step(c, Disconnected{})
		if c.in.State() != Restored || c.in.pace.every != 0 {
			t.Fatalf("%s, with a pace of %v", c.in.State(), c.in.pace.every)
		}
	})
	t.Run("keys share it", func(t *testing.T) {
		b := newBench(t, 1)
		b.reach(Relaying)
		b.p.in.cfg.Concurrency = 3
		b.paces(pace, time.Minute)
		b.b.primary = append(b.b.primary, simMessage{id: "a", key: "k"}, simMessage{id: "b", key: "l"})
		b.flush()
		if slices.Contains(b.p.applied, "b") {
			t.Fatal("two messages are begun at once")
		}
	})
}
