package handover

import (
	"fmt"
	"testing"
)

// TestFreezeAgain freezes a source whose last migration was aborted when it was
// frozen already. Its connection is the same as then: that END_REPLAY was on its way
// on it once is nothing to the next migration, nor is a confirm that comes late.
func TestFreezeAgain(t *testing.T) {
	b := newBench(t, 5)
	b.reach(Frozen)
	b.b.decide(Aborted)
	b.do(b.p, Abort)
	if got := b.p.in.State(); got != Live {
		t.Fatalf("ABORT led to %s", got)
	}
	b.b.decision, b.b.decided = Undecided, 0
	next := func(c *Command) { c.Migration, c.ReplayQueue = "next", "r2" }
	for _, kind := range []CommandKind{Prepare, Resume} {
		b.do(b.p, kind, next)
	}
	if got := b.p.in.State(); got != Relaying {
		t.Fatalf("the next migration led to %s", got)
	}
	b.step(b.p, Commanded{ReplyTo: "manager", Command: Command{Version: Version, Kind: Freeze, Migration: "next",
		Attempt: 1, Epoch: 1, PodUID: b.p.pod, DeadlineMillis: 10_000, LeaseMillis: 60_000}})
	b.step(b.p, EndConfirmed{Migration: simMigration})
	if got := b.p.in.State(); got != Finishing {
		t.Fatalf("the confirm of the last migration's END_REPLAY led to %s", got)
	}
	b.flush()
	if got := b.p.in.State(); got != Frozen {
		t.Fatalf("FREEZE led to %s", got)
	}
}

// TestPublishedAgain publishes messages again that were finished long ago, as
// producers do whom a broker's death has kept away for longer than others.
func TestPublishedAgain(t *testing.T) {
	for _, tc := range []struct {
		between int
		handled int
	}{
		{between: 499, handled: 500},
		{between: 500, handled: 502}, // forgotten
	} {
		b := newBench(t, 0)
		b.p.in.finished = newMemory(500)
		b.do(b.p, Hello)
		publish := func(id string) {
			b.b.primary = append(b.b.primary, simMessage{id: id})
			b.flush()
		}
		publish("again")
		for i := range tc.between {
			publish(fmt.Sprint("between-", i))
		}
		publish("again")
		if got := int(b.p.in.number); got != tc.handled {
			t.Errorf("%d in between: handled %d, want %d", tc.between, got, tc.handled)
		}
	}
}
