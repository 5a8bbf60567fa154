package handover

import (
	"fmt"
	"testing"
	"time"
)

func sequential(c *Command) { c.Sequential = true }

// newSequential is a source in a sequential migration, with an image of it and
// messages in its replay queue.
func newSequential(t *testing.T) (b *bench, image func() *simProcess) {
	b = newBench(t, 3)
	b.do(b.p, Prepare, sequential)
	n := 0
	safe := b.p.copy("")
	image = func() *simProcess {
		n++
		return safe.copy(fmt.Sprint("pod-b", n))
	}
	b.do(b.p, Resume)
	for i := range 5 {
		b.b.primary = append(b.b.primary, simMessage{id: fmt.Sprint("tail-", i)})
	}
	b.flush()
	return b, image
}

// wake lets a copy run on, and connect.
func (b *bench) wake(p *simProcess) {
	b.procs = append(b.procs, p)
	b.step(p, Disconnected{})
	b.connect(p)
	b.flush()
}

func (b *bench) expect(p *simProcess, s State, why Reason) {
	b.t.Helper()
	if p.in.State() != s || p.in.why != why {
		b.t.Fatalf("it is %s because of %q (%s), want %s because of %q", p.in.State(), p.in.why, p.in.whyText, s, why)
	}
}

// TestSequentialSource: the source writes COMMIT when its END_REPLAY stands.
func TestSequentialSource(t *testing.T) {
	b, _ := newSequential(t)
	if b.b.decision != Undecided {
		t.Fatalf("%s stands before END_REPLAY", b.b.decision)
	}
	b.do(b.p, Freeze, func(c *Command) { c.Successor = "10.0.0.7" })
	b.expect(b.p, Retired, "")
	if b.b.decision != Commit || b.b.replay[len(b.b.replay)-1].h.Kind != EntryEnd {
		t.Errorf("decision %s", b.b.decision)
	}
	if got := b.p.in.Home(); got != "10.0.0.7" {
		t.Errorf("successor %q", got)
	}
	if b.p.in.Owner() {
		t.Error("it owns the state")
	}
}

// TestSequentialSourceVouches: a source that went on by itself does not know
// whether the image was taken before, and leads nowhere from where there is no
// way back.
func TestSequentialSourceVouches(t *testing.T) {
	b := newBench(t, 3)
	b.do(b.p, Prepare, sequential)
	b.after(11 * time.Second)
	if r := b.do(b.p, Resume); r.Kind != ReportRelaying {
		t.Fatalf("RESUME that is late was answered %s", r.Kind)
	}
	if r := b.do(b.p, Freeze); r.Kind != ReportRefused || r.Reason != ReasonNotPaused {
		t.Errorf("FREEZE was answered %s %s", r.Kind, r.Reason)
	}
	b.expect(b.p, Relaying, "")
	second := func(c *Command) { c.Attempt, c.Sequential = 2, c.Kind == Prepare }
	b.do(b.p, Prepare, second)
	b.do(b.p, Resume, second)
	b.do(b.p, Freeze, second)
	b.expect(b.p, Retired, "")
}

func TestSequentialSourceReadsAbort(t *testing.T) {
	b, _ := newSequential(t)
	b.b.decide(Aborted)
	b.do(b.p, Freeze, func(c *Command) { c.Successor = "10.0.0.7" })
	b.expect(b.p, Live, "")
	if got := b.p.in.Home(); got != "" {
		t.Errorf("successor %q of a source that is live", got)
	}
}

// TestSequentialSourceLosesTheAnswer: COMMIT is written, and the connection lost
// before its answer. Nothing makes the source want ABORT meanwhile.
func TestSequentialSourceLosesTheAnswer(t *testing.T) {
	b, _ := newSequential(t)
	b.b.down = false
	b.step(b.p, Commanded{Command: Command{Version: Version, Kind: Freeze, Migration: simMigration, Attempt: 1, Epoch: 1, PodUID: b.p.pod, DeadlineMillis: 1000}, ReplyTo: "manager"})
	for b.b.decision == Undecided {
		if len(b.p.conn.todo) > 0 {
			b.carry(b.p.conn)
		} else {
			ev := b.p.conn.inbox[0]
			b.p.conn.inbox = b.p.conn.inbox[1:]
			b.step(b.p, ev)
		}
	}
	b.cut(b.p, false)
	b.after(10 * time.Minute)
	b.expect(b.p, Frozen, "")
	b.connect(b.p)
	b.flush()
	b.expect(b.p, Retired, "")
}

// TestSequentialCopy: COMMIT neither ends a copy nor makes it live before its
// replay has come to END_REPLAY.
func TestSequentialCopy(t *testing.T) {
	b, image := newSequential(t)
	b.do(b.p, Freeze)
	b.crash(b.p, false, false)
	c := image()
	b.wake(c)
	for _, hint := range []CommandKind{Retire, Abort} {
		if r := b.do(c, hint); r.Kind != ReportHello || r.Status.Decision != Commit {
			t.Errorf("%s was answered %s with %q", hint, r.Kind, r.Status.Decision)
		}
		b.expect(c, Restored, "")
	}
	b.step(c, Commanded{Command: Command{Version: Version, Kind: StartReplay, Migration: simMigration, Attempt: 1, Epoch: 1, PodUID: c.pod, ReplayQueue: "r", DeadlineMillis: 10_000}})
	b.step(c, DecisionRead{Decision: Commit})
	b.expect(c, Replaying, "")
	b.cut(c, false)
	b.connect(c)
	b.step(c, c.conn.inbox[0]) // COMMIT is read again
	c.conn.inbox = nil
	b.expect(c, Replaying, "")
	if c.in.Owner() {
		t.Error("it owns the state before its end")
	}
	b.flush()
	b.expect(c, Live, "")
	if got, want := string(c.digest()), string(b.p.digest()); got != want {
		t.Errorf("it has %s, the source had %s", got, want)
	}
}

// TestSequentialCopyGivesUp: a copy that gives up finds COMMIT, is Void for its
// own reason, and leaves the state to the next copy of the same image.
func TestSequentialCopyGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		why  Reason
		fail func(b *bench, p *simProcess)
	}{
		"lease in Restored": {ReasonDeadline, func(b *bench, _ *simProcess) { b.after(61 * time.Second) }},
		"deadline": {ReasonDeadline, func(b *bench, p *simProcess) {
			end := b.b.replay
			b.b.replay = b.b.replay[:2]
			b.do(p, StartReplay)
			b.after(11 * time.Second)
			b.b.replay = end
		}},
		"gap": {ReasonGap, func(b *bench, p *simProcess) {
			whole := b.b.replay
			b.b.replay = append(append([]simEntry{}, whole[:2]...), whole[len(whole)-1])
			b.do(p, StartReplay)
			b.b.replay = whole
		}},
		"digest": {ReasonDigest, func(b *bench, p *simProcess) {
			p.applied = append(p.applied, "foreign")
			b.do(p, StartReplay)
		}},
		"outcome": {ReasonOutcome, func(b *bench, p *simProcess) {
			b.b.replay[0].h.Outcome = Rejected
			b.do(p, StartReplay)
			b.b.replay[0].h.Outcome = Done
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, image := newSequential(t)
			b.do(b.p, Freeze)
			b.crash(b.p, false, false)
			first := image()
			b.wake(first)
			c.fail(b, first)
			b.expect(first, Void, c.why)
			b.crash(first, false, false)
			second := image()
			b.wake(second)
			b.do(second, StartReplay)
			b.expect(second, Live, "")
			if got, want := string(second.digest()), string(b.p.digest()); got != want {
				t.Errorf("it has %s, the source had %s", got, want)
			}
		})
	}
}

// TestSequentialTakeover: the source died before END_REPLAY. The first copy
// ends the log, writes COMMIT, and dies before it is live; the next one ends it
// once more.
func TestSequentialTakeover(t *testing.T) {
	b, image := newSequential(t)
	b.crash(b.p, false, false)
	fence := func(c *Command) { c.FencePodUID = simSource }
	first := image()
	b.wake(first)
	b.do(first, StartReplay)
	b.step(first, Commanded{Command: Command{Version: Version, Kind: TakeOver, Migration: simMigration, Attempt: 1, Epoch: 1, PodUID: first.pod, FencePodUID: simSource}})
	for b.b.decision == Undecided {
		for len(first.conn.inbox) > 0 {
			ev := first.conn.inbox[0]
			first.conn.inbox = first.conn.inbox[1:]
			b.step(first, ev)
		}
		b.carry(first.conn)
		b.b.deliver(first.conn, b.r)
	}
	b.crash(first, false, false)
	second := image()
	b.wake(second)
	b.do(second, StartReplay)
	b.expect(second, Replaying, "")
	b.do(second, TakeOver, fence)
	b.carry(second.conn) // the broker lets it have the fence
	b.flush()
	b.expect(second, Live, "")
	if got, want := string(second.digest()), string(b.p.digest()); got != want {
		t.Errorf("it has %s, the source had %s", got, want)
	}
}

// TestNotSequential: without the word everything is as it was: COMMIT ends a
// copy that waits, and is the copy's own word in one that replays.
func TestNotSequential(t *testing.T) {
	for state, want := range map[State]State{Restored: Void, Replaying: Live} {
		t.Run(string(state), func(t *testing.T) {
			b := newBench(t, 3)
			b.do(b.p, Prepare)
			c := b.p.copy("pod-b")
			b.do(b.p, Resume)
			b.wake(c)
			if state == Replaying {
				b.do(c, StartReplay)
			}
			b.step(c, DecisionRead{Decision: Commit})
			if got := c.in.State(); got != want {
				t.Errorf("%s became %s, want %s", state, got, want)
			}
		})
	}
}
