package handover

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	schedules = flag.Int("schedules", 3000, "random schedules of each kind")
	seed      = flag.Uint64("seed", 0, "run this one schedule")
	tail      = flag.Int("tail", 60, "steps shown of a schedule that failed")
)

const simMigration = "m"

// simManager drives the hand-over by what it reads in the reports, as
// docs/protocol.md says, and may give up at any moment.
type simManager struct {
	attempt int
	image   *simProcess // the copy, not yet started
	gaveUp  bool
}

func newSim(messages, prefetch int) *sim {
	s := &sim{b: &simBroker{unacked: map[*simConn][]simDelivery{}}, now: time.Second}
	for i := range messages {
		s.b.primary = append(s.b.primary, simMessage{id: fmt.Sprint("p-", i)})
	}
	p := &simProcess{name: "source", pod: "pod-a"}
	p.in = New(Config{Queue: "q", Prefetch: prefetch, Identity: IdentityMessageID, Incarnation: "i", Digest: p.digest})
	s.procs = append(s.procs, p)
	s.step(p, Looked{Pod: p.pod})
	return s
}

func (p *simProcess) digest() []byte { return []byte(strings.Join(p.applied, ",")) }

// restore starts the copy of a process in another pod.
func (p *simProcess) copy(pod string) *simProcess {
	t := &simProcess{name: "target", pod: pod, in: p.in.Clone(), applied: slices.Clone(p.applied)}
	if p.running != nil {
		t.running, t.replays = t.in.current, p.replays
	}
	t.in.SetDigest(t.digest)
	return t
}

func (s *sim) command(p *simProcess, m *simManager, kind CommandKind, deadline time.Duration) {
	if p.conn == nil {
		return // returned as unroutable
	}
	p.conn.inbox = append(p.conn.inbox, Commanded{ReplyTo: "manager", Command: Command{
		Version: Version, Kind: kind, Migration: simMigration, Attempt: m.attempt, Epoch: 1,
		PodUID: p.pod, ReplayQueue: "r", DeadlineMillis: deadline.Milliseconds(), LeaseMillis: 60_000}})
}

// move lets the manager do the next thing, if there is one.
func (m *simManager) move(r *rand.Rand, s *sim) {
	src := s.procs[0]
	var tgt *simProcess
	if len(s.procs) > 1 {
		tgt = s.procs[1]
	}
	state := src.in.State()
	switch {
	case s.b.decision != Undecided || m.gaveUp:
		for _, p := range s.procs {
			if p.in.inMigration() {
				s.command(p, m, Abort, 0)
			}
		}
	case m.image == nil && tgt == nil && state == Live:
		m.attempt = max(m.attempt, 1)
		s.command(src, m, Prepare, 20*time.Second)
	case m.image == nil && tgt == nil && state == Paused:
		m.image = src.copy("pod-b")
	case m.image != nil && tgt == nil && state == Paused:
		s.command(src, m, Resume, 0)
	case m.image == nil && tgt == nil && state == Relaying: // the pause ended before the image was taken
		m.attempt++
		s.command(src, m, Prepare, 20*time.Second)
	case m.image != nil && tgt == nil:
		s.procs = append(s.procs, m.image)
		// It wakes with a connection that is dead.
		m.image.conn = nil
		s.step(m.image, Disconnected{})
	case tgt != nil && tgt.in.State() == Restored:
		s.command(tgt, m, StartReplay, 30*time.Second)
	case tgt != nil && state == Relaying:
		if r.IntN(4) == 0 {
			s.command(src, m, Freeze, 20*time.Second)
		}
	}
}

func (m *simManager) abort(s *sim) {
	m.gaveUp = true
	s.b.decide(Aborted)
}

// overlap is invariant 1: source and target never take from the primary at once.
func (s *sim) overlap() bool {
	takers := 0
	for _, p := range s.procs {
		if p.conn != nil && (p.conn.consuming || len(s.b.unacked[p.conn]) > 0) {
			takers++
		}
	}
	return takers > 1
}

type simOptions struct {
	faults    int  // connections that may be lost
	mayAbort  bool // the manager may give up
	badImages bool // the image may be taken in any state
}

// TestHandover runs random schedules of the real transition code against the
// simulated broker and judges by the oracle: whoever is live in the end has
// applied every message once, in order.
func TestHandover(t *testing.T) {
	for name, o := range map[string]simOptions{
		"calm":        {},
		"connections": {faults: 3},
		"abort":       {faults: 2, mayAbort: true},
		"bad image":   {faults: 1, mayAbort: true, badImages: true},
	} {
		t.Run(name, func(t *testing.T) {
			seeds := uint64(*schedules)
			first := uint64(0)
			if *seed > 0 {
				first, seeds = *seed, 1
			}
			for n := first; n < first+seeds; n++ {
				runSim(t, o, n)
			}
		})
	}
}

func runSim(t *testing.T, o simOptions, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	total := 1 + r.IntN(12)
	s := newSim(total, 1+r.IntN(4))
	m := &simManager{}
	var trace []string
	fail := func(f string, a ...any) {
		t.Helper()
		t.Fatalf("%s\nseed %d; again with -seed %d -v; the last steps:\n%s", fmt.Sprintf(f, a...), seed, seed, strings.Join(trace[max(0, len(trace)-*tail):], "\n"))
	}
	for n := 0; ; n++ {
		if s.settled(total) && (s.b.decision != Undecided || n > 3000) {
			break
		}
		if n > 6000 {
			fail("does not come to an end: %s", s.describe())
		}
		// Towards the end nothing disturbs any more.
		calm := n > 1500
		act := s.choose(r, m, o, calm)
		trace = append(trace, fmt.Sprintf("%s: %s", act, s.describe()))
		if s.overlap() {
			fail("source and target take from the primary at once")
		}
		if s.fault != "" {
			fail("%s", s.fault)
		}
		if s.b.decided > 1 {
			fail("two decisions")
		}
	}
	if !o.badImages {
		for _, p := range s.procs {
			switch p.in.why {
			case ReasonGap, ReasonOutcome, ReasonDigest, ReasonRelayBroken:
				fail("%s gave up by itself: %s", p.name, p.in.whyText)
			}
		}
	}
	s.judge(total, fail)
}

// choose does one random thing that can be done.
func (s *sim) choose(r *rand.Rand, m *simManager, o simOptions, calm bool) string {
	p := s.procs[r.IntN(len(s.procs))]
	switch k := r.IntN(40); {
	case k < 8:
		if p.conn == nil {
			s.connect(p)
			return "connect " + p.name
		}
		if len(p.conn.todo) > 0 {
			s.carry(p)
		}
		return "carry " + p.name
	case k < 16:
		if p.conn != nil && len(p.conn.inbox) > 0 {
			ev := p.conn.inbox[0]
			p.conn.inbox = p.conn.inbox[1:]
			s.step(p, ev)
			return fmt.Sprintf("tell %s %T", p.name, ev)
		}
		return "idle"
	case k < 22:
		s.deliver(p)
		return "deliver " + p.name
	case k < 28:
		if p.running != nil {
			s.finish(p)
		}
		return "finish " + p.name
	case k < 34:
		m.move(r, s)
		return "manager"
	case k < 36:
		s.now += time.Duration(1+r.IntN(2000)) * time.Millisecond
		if calm {
			s.now += 5 * time.Second
		}
		for _, p := range s.procs {
			s.step(p, Tick{})
		}
		return "tick"
	case k == 36 && !calm && s.lost < o.faults && p.conn != nil:
		s.lost++
		s.cut(p)
		return "cut " + p.name
	case k == 37 && o.mayAbort && !m.gaveUp && r.IntN(10) == 0:
		m.abort(s)
		return "abort"
	case k == 38 && o.badImages && m.image == nil && len(s.procs) == 1:
		m.image = p.copy("pod-b")
		return "image at " + string(p.in.State())
	}
	return "idle"
}

func (s *sim) settled(total int) bool {
	if len(s.b.primary) > 0 {
		return false
	}
	for _, p := range s.procs {
		if p.conn == nil || len(p.conn.todo) > 0 || len(p.conn.inbox) > 0 || p.running != nil || len(s.b.unacked[p.conn]) > 0 {
			return false
		}
		switch p.in.State() {
		case Draining, Paused, Finishing, Frozen, Replaying:
			return false
		}
	}
	return true
}

// judge is the oracle: lost, doubled and reordered applications and outputs.
func (s *sim) judge(total int, fail func(string, ...any)) {
	var want []string
	for i := range total {
		want = append(want, fmt.Sprint("p-", i))
	}
	var owner *simProcess
	for _, p := range s.procs {
		if p.in.State() == Live || p.in.State() == Relaying {
			if owner != nil {
				fail("two owners")
			}
			owner = p
		}
	}
	if owner == nil {
		fail("no owner: %s", s.describe())
	}
	if !slices.Equal(owner.applied, want) {
		fail("the owner %s applied %v", owner.name, owner.applied)
	}
	seen := map[string]int{}
	for _, id := range s.b.outputs {
		seen[id]++
	}
	for _, id := range want {
		if seen[id] == 0 || seen[id] > 1 && s.lost == 0 {
			fail("%d outputs for %s with %d connections lost", seen[id], id, s.lost)
		}
	}
	if s.lost == 0 && !slices.Equal(s.b.outputs, want) {
		fail("outputs out of order: %v", s.b.outputs)
	}
	if s.b.decision == Commit && len(s.procs) == 2 && !bytes.Equal(s.procs[0].digest(), s.procs[1].digest()[:len(s.procs[0].digest())]) {
		fail("the target's state does not begin with the source's")
	}
}

func (s *sim) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "decision=%q ready=%d replay=%d", s.b.decision, len(s.b.primary), len(s.b.replay))
	for _, p := range s.procs {
		fmt.Fprintf(&b, " | %s %s n=%d applied=%d connected=%v", p.name, p.in.State(), p.in.Number(), len(p.applied), p.conn != nil)
	}
	return b.String()
}
