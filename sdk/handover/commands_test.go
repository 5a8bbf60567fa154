package handover

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bench is an instance with its effects carried out at once, by the simulated
// broker: for tables of single transitions.
type bench struct {
	t *testing.T
	*sim
	p *simProcess
}

func newBench(t *testing.T, messages int) *bench {
	s := newSim(rand.New(rand.NewPCG(1, 1)), simOptions{})
	s.procs, s.b.primary, s.cfg.Prefetch = nil, nil, 4
	for i := range messages {
		s.b.primary = append(s.b.primary, simMessage{id: fmt.Sprint("p-", i)})
	}
	s.start("source", simSource)
	b := &bench{t: t, sim: s, p: s.procs[0]}
	s.connect(b.p)
	b.flush()
	return b
}

// flush carries out and tells everything until nothing moves any more.
func (b *bench) flush() {
	for again := true; again; {
		again = false
		for _, p := range b.procs {
			for p.conn != nil && len(p.conn.todo) > 0 {
				b.carry(p.conn)
				again = true
			}
			for p.conn != nil && len(p.conn.inbox) > 0 {
				ev := p.conn.inbox[0]
				p.conn.inbox = p.conn.inbox[1:]
				b.step(p, ev)
				again = true
			}
			if len(p.running) > 0 {
				b.finish(p)
				again = true
			}
			if p.conn != nil {
				again = b.b.deliver(p.conn, b.r) || again
			}
		}
	}
}

func (b *bench) do(p *simProcess, kind CommandKind, change ...func(*Command)) Report {
	b.t.Helper()
	c := Command{Version: Version, Kind: kind, Migration: simMigration, Attempt: 1, Epoch: 1, PodUID: p.pod,
		ReplayQueue: "r", DeadlineMillis: 10_000, LeaseMillis: 60_000}
	for _, f := range change {
		f(&c)
	}
	before := len(p.reports)
	b.step(p, Commanded{Command: c, ReplyTo: "manager"})
	b.flush()
	if len(p.reports) == before {
		return Report{}
	}
	return p.reports[before]
}

// reach brings the bench's source to a state by the ordinary way.
func (b *bench) reach(s State) {
	b.t.Helper()
	way := []struct {
		state State
		kind  CommandKind
	}{{Live, Hello}, {Paused, Prepare}, {Relaying, Resume}, {Frozen, Freeze}}
	for _, w := range way {
		b.do(b.p, w.kind)
		if got := b.p.in.State(); got != w.state {
			b.t.Fatalf("%s led to %s, want %s", w.kind, got, w.state)
		}
		if w.state == s {
			return
		}
	}
	b.t.Fatalf("no way to %s", s)
}

// TestCommands is the table of docs/protocol.md: each command in each state
// that a source rests in.
func TestCommands(t *testing.T) {
	states := []State{Live, Paused, Relaying, Frozen}
	type want struct {
		state  State
		kind   ReportKind
		reason Reason
	}
	refused := func(s State) want { return want{s, ReportRefused, ReasonWrongState} }
	for kind, row := range map[CommandKind][]want{
		Hello:       {{Live, ReportHello, ""}, {Paused, ReportHello, ""}, {Relaying, ReportHello, ""}, {Frozen, ReportHello, ""}},
		Prepare:     {{Paused, ReportPrepared, ""}, {Paused, ReportPrepared, ""}, {Relaying, ReportRelaying, ""}, refused(Frozen)},
		Resume:      {refused(Live), {Relaying, ReportRelaying, ""}, {Relaying, ReportRelaying, ""}, refused(Frozen)},
		Freeze:      {refused(Live), refused(Paused), {Frozen, ReportFrozen, ""}, {Frozen, ReportFrozen, ""}},
		StartReplay: {refused(Live), refused(Paused), refused(Relaying), refused(Frozen)},
		TakeOver:    {refused(Live), refused(Paused), refused(Relaying), refused(Frozen)},
		// Hints: nothing is decided, nothing happens.
		Abort:  {{Live, ReportLive, ""}, {Paused, "", ""}, {Relaying, "", ""}, {Frozen, "", ""}},
		Retire: {{Live, ReportLive, ""}, {Paused, "", ""}, {Relaying, "", ""}, {Frozen, "", ""}},
	} {
		for i, s := range states {
			t.Run(string(kind)+" in "+string(s), func(t *testing.T) {
				b := newBench(t, 3)
				b.reach(s)
				r := b.do(b.p, kind)
				if diff := cmp.Diff(row[i], want{b.p.in.State(), r.Kind, r.Reason}, cmp.AllowUnexported(want{})); diff != "" {
					t.Error("-want +got:\n" + diff)
				}
			})
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		in     State
		kind   CommandKind
		change func(*Command)
		want   Reason
	}{
		"other version":            {Live, Prepare, func(c *Command) { c.Version = 99 }, ReasonVersion},
		"other pod":                {Live, Prepare, func(c *Command) { c.PodUID = "pod-x" }, ReasonForeign},
		"other migration":          {Relaying, Freeze, func(c *Command) { c.Migration = "n" }, ReasonForeign},
		"PREPARE of another":       {Relaying, Prepare, func(c *Command) { c.Migration = "n" }, ReasonForeign},
		"older epoch":              {Relaying, Freeze, func(c *Command) { c.Epoch = 0 }, ReasonStale},
		"older attempt":            {Relaying, Freeze, func(c *Command) { c.Attempt = 0 }, ReasonStale},
		"PREPARE without deadline": {Live, Prepare, func(c *Command) { c.DeadlineMillis = 0 }, ReasonUnbounded},
		"PREPARE without lease":    {Live, Prepare, func(c *Command) { c.LeaseMillis = 0 }, ReasonUnbounded},
		"FREEZE without deadline":  {Relaying, Freeze, func(c *Command) { c.DeadlineMillis = 0 }, ReasonUnbounded},
		"RESUME of later attempt":  {Paused, Resume, func(c *Command) { c.Attempt = 2 }, ReasonWrongState},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3)
			b.reach(c.in)
			r := b.do(b.p, c.kind, c.change)
			if r.Kind != ReportRefused || r.Reason != c.want {
				t.Errorf("answered %s %s, want REFUSED %s", r.Kind, r.Reason, c.want)
			}
			if got := b.p.in.State(); got != c.in {
				t.Errorf("it acted: %s", got)
			}
		})
	}
}

// TestEpochTakesOver: another manager goes on where the first stopped, and the
// first is refused from then on.
func TestEpochTakesOver(t *testing.T) {
	b := newBench(t, 3)
	b.reach(Relaying)
	if r := b.do(b.p, Hello, func(c *Command) { c.Epoch = 7 }); r.Status.Epoch != 7 {
		t.Errorf("epoch %d after HELLO of epoch 7", r.Status.Epoch)
	}
	if r := b.do(b.p, Freeze, func(c *Command) { c.Epoch = 6 }); r.Reason != ReasonStale {
		t.Errorf("the older manager's FREEZE was answered %s %s", r.Kind, r.Reason)
	}
}

func (b *bench) after(d time.Duration) {
	b.now += d
	for _, p := range b.procs {
		b.step(p, Tick{})
	}
	b.flush()
}

// TestDeadlines: no state lasts without somebody's word.
func TestDeadlines(t *testing.T) {
	t.Run("Paused goes on by itself", func(t *testing.T) {
		b := newBench(t, 3)
		b.reach(Paused)
		b.after(11 * time.Second)
		if got := b.p.in.State(); got != Relaying {
			t.Errorf("state %s", got)
		}
		if r := b.p.reports[len(b.p.reports)-1]; r.Kind != ReportRelaying || r.Answers != "" {
			t.Errorf("told %s answering %q", r.Kind, r.Answers)
		}
	})
	t.Run("Draining goes back", func(t *testing.T) {
		b := newBench(t, 1)
		b.b.primary = append(b.b.primary, simMessage{id: "slow"})
		for len(b.p.running) == 0 { // begins a handler that does not end
			b.b.deliver(b.p.conn, b.r)
			for len(b.p.conn.inbox) > 0 {
				ev := b.p.conn.inbox[0]
				b.p.conn.inbox = b.p.conn.inbox[1:]
				b.step(b.p, ev)
			}
		}
		slow := b.p.running
		b.p.running = nil
		b.do(b.p, Prepare)
		if got := b.p.in.State(); got != Draining {
			t.Fatalf("state %s", got)
		}
		b.after(11 * time.Second)
		if r := b.p.reports[len(b.p.reports)-1]; b.p.in.State() != Live || r.Reason != ReasonDrainDeadline {
			t.Errorf("state %s, told %s %s", b.p.in.State(), r.Kind, r.Reason)
		}
		b.p.running = slow
		b.flush()
		if len(b.p.applied) != 2 {
			t.Errorf("applied %v", b.p.applied)
		}
	})
	for _, s := range []State{Relaying, Frozen} {
		t.Run(string(s)+" gives up without a manager", func(t *testing.T) {
			b := newBench(t, 3)
			b.reach(s)
			b.after(61 * time.Second)
			if b.p.in.State() != Live || b.b.decision != Aborted {
				t.Errorf("state %s, decision %s", b.p.in.State(), b.b.decision)
			}
		})
	}
	t.Run("a replay queue that confirms nothing is given up", func(t *testing.T) {
		b := newBench(t, 1)
		b.reach(Relaying)
		b.b.primary = append(b.b.primary, simMessage{id: "p-9"})
		b.b.down = true
		for range 10 { // returned on every connection
			b.now += 4 * time.Second
			if b.p.conn == nil {
				b.connect(b.p)
			}
			b.flush()
		}
		if b.p.in.State() != Live || b.b.decision != Aborted || b.p.in.why != ReasonRelayBroken {
			t.Errorf("state %s, decision %s, because of %s", b.p.in.State(), b.b.decision, b.p.in.why)
		}
	})
	t.Run("a replay queue that comes back is not", func(t *testing.T) {
		b := newBench(t, 1)
		b.reach(Relaying)
		b.b.primary = append(b.b.primary, simMessage{id: "p-9"})
		b.b.down = true
		b.flush()
		b.connect(b.p)
		b.b.down = false
		b.flush()
		if b.p.in.State() != Relaying || len(b.b.replay) != 1 || len(b.p.conn.unacked) != 0 {
			t.Errorf("state %s, %d entries, %d in hand", b.p.in.State(), len(b.b.replay), len(b.p.conn.unacked))
		}
	})
	t.Run("Frozen obeys COMMIT without a manager", func(t *testing.T) {
		b := newBench(t, 3)
		b.reach(Frozen)
		b.b.decide(Commit)
		b.after(2 * time.Second)
		if got := b.p.in.State(); got != Retired {
			t.Errorf("state %s", got)
		}
	})
}

// TestHolds is the table of docs/protocol.md for a process that starts fresh.
func TestHolds(t *testing.T) {
	for name, c := range map[string]struct {
		hold *HoldView
		want State
	}{
		"none":                        {nil, Live},
		"target pod, undecided":       {&HoldView{Target: true}, Held},
		"target pod, COMMIT":          {&HoldView{Target: true, Decision: Commit}, Live},
		"target pod, ABORT":           {&HoldView{Target: true, Decision: Aborted}, Void},
		"the source's place, open":    {&HoldView{Hold: Hold{DeadlineMillis: 5000}}, Held},
		"the source's place, COMMIT":  {&HoldView{Decision: Commit}, Retired},
		"the source's place, ABORTed": {&HoldView{Decision: Aborted}, Live},
		"sibling, undecided":          {&HoldView{Sibling: true, Hold: Hold{DeadlineMillis: 5000}}, Held},
		"sibling, COMMIT":             {&HoldView{Sibling: true, Decision: Commit, Hold: Hold{DeadlineMillis: 5000}}, Held},
		"sibling, ABORT":              {&HoldView{Sibling: true, Decision: Aborted}, Live},
		"sequential target, COMMIT":   {&HoldView{Target: true, Decision: Commit, Hold: Hold{Sequential: true, DeadlineMillis: 5000}}, Held},
		"sequential target, ABORT":    {&HoldView{Target: true, Decision: Aborted, Hold: Hold{Sequential: true}}, Void},
	} {
		t.Run(name, func(t *testing.T) {
			in := New(Config{Queue: "q", Prefetch: 1})
			if c.hold != nil {
				c.hold.Hold.Migration = simMigration
			}
			var consumes bool
			for _, e := range in.Step(time.Second, Connected{Pod: "p", Hold: c.hold}) {
				_, is := e.(Consume)
				consumes = consumes || is
			}
			if in.State() != c.want {
				t.Errorf("state %s, want %s", in.State(), c.want)
			}
			if consumes != (c.want == Live) {
				t.Errorf("takes from the primary: %v", consumes)
			}
		})
	}
	for name, end := range map[bool]State{false: Live, true: Void} {
		testHeldFor(t, name, end)
	}
}

// testHeldFor: nobody waits for ever, neither in the source's place nor in the target's.
func testHeldFor(t *testing.T, target bool, end State) {
	t.Run(fmt.Sprintf("a newcomer writes ABORT at the hold's deadline (target: %v)", target), func(t *testing.T) {
		in := New(Config{Queue: "q", Prefetch: 1})
		h := &HoldView{Target: target, Hold: Hold{Migration: simMigration, DeadlineMillis: 5000}}
		in.Step(time.Second, Connected{Pod: "p", Hold: h})
		var wrote bool
		for _, e := range in.Step(7*time.Second, Tick{}) {
			d, is := e.(WriteDecision)
			wrote = wrote || is && d.Decision == Aborted && d.Migration == simMigration
		}
		if !wrote {
			t.Fatal("ABORT not written")
		}
		in.Step(7*time.Second, DecisionRead{Decision: Aborted})
		h.Decision = Aborted
		in.Step(7*time.Second, HoldRead{Hold: h})
		if in.State() != end {
			t.Errorf("state %s", in.State())
		}
	})
}

// TestHeldAfterCommit: a process for which COMMIT decides nothing looks for the
// hold about once a second and starts when it is gone, or has stood too long
// since COMMIT was read.
func TestHeldAfterCommit(t *testing.T) {
	for name, view := range map[string]HoldView{
		"sibling":           {Sibling: true},
		"sequential target": {Target: true, Hold: Hold{Sequential: true}},
	} {
		for _, gone := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, hold gone: %v", name, gone), func(t *testing.T) {
				h := view
				h.Hold.Migration, h.Hold.DeadlineMillis = simMigration, 5000
				in := New(Config{Queue: "q", Prefetch: 1})
				in.Step(time.Second, Connected{Pod: "p", Hold: &h})
				h.Decision = Commit
				now, looks := 4*time.Second, 0
				for in.Step(now, HoldRead{Hold: &h}); in.State() == Held; looks++ {
					if gone && looks == 3 {
						in.Step(now, HoldRead{})
						break
					}
					at, ok := in.Wake()
					if !ok || at > now+pollInterval {
						t.Fatalf("at %s it wants to look at %s", now, at)
					}
					now = at
					for _, e := range in.Step(now, Tick{}) {
						if w, is := e.(WriteDecision); is {
							t.Fatalf("it writes %s", w.Decision)
						}
						if _, is := e.(ReadHold); is {
							in.Step(now, HoldRead{Hold: &h})
						}
					}
				}
				if in.State() != Live || !gone && now < 9*time.Second || now > 10*time.Second {
					t.Errorf("it is %s at %s", in.State(), now)
				}
			})
		}
	}
	t.Run("the hold of another migration", func(t *testing.T) {
		in := New(Config{Queue: "q", Prefetch: 1})
		h := HoldView{Sibling: true, Decision: Commit, Hold: Hold{Migration: "m1", DeadlineMillis: 5000}}
		in.Step(time.Second, Connected{Pod: "p", Hold: &h})
		h.Hold.Migration, h.Decision = "m2", Undecided
		in.Step(5*time.Second, HoldRead{Hold: &h})
		h.Decision = Commit
		in.Step(7*time.Second, HoldRead{Hold: &h})
		if in.State() != Held {
			t.Errorf("%s: the patience with one migration counts for the next", in.State())
		}
	})
}
