package handover

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	schedules = flag.Int("schedules", 4000, "random schedules of each kind")
	seed      = flag.Uint64("seed", 0, "run this one schedule")
	tail      = flag.Int("tail", 60, "steps shown of a schedule that failed")
)

type simOptions struct {
	cuts       int  // connections that may be lost
	half       bool // … and be kept by the broker for a while
	abort      bool // the manager may give up
	lateImages bool // the image may be taken in any state
	crashes    int  // processes that may die
	zombie     bool // a source that is only cut off may be taken for dead
	manager    bool // managers may be replaced, or die for good
	late       bool // commands may come again, late
	restart    bool // the replay queue may be away for a while
	keys       int  // handlers run in parallel, by so many keys
	twice      bool // messages may be published twice
	outcomes   bool // handlers reject, and give back
	sequential bool // the source goes before the copy is made
	copies     int  // copies that may die before they are live, and are made again
	queues     int  // two or more primary queues, up to so many
}

// TestHandover runs random schedules of the real transition code against the
// simulated broker and judges by the oracle: whoever is live in the end has
// applied every message once, in order.
func TestHandover(t *testing.T) {
	for name, o := range map[string]simOptions{
		"calm":                  {},
		"connections":           {cuts: 3, half: true, twice: true},
		"abort":                 {cuts: 2, abort: true, outcomes: true},
		"late images":           {cuts: 1, abort: true, lateImages: true},
		"crashes":               {cuts: 1, half: true, crashes: 2},
		"zombies":               {cuts: 4, half: true, zombie: true},
		"restarts":              {cuts: 1, restart: true},
		"managers":              {cuts: 1, manager: true, late: true, abort: true},
		"keys":                  {cuts: 2, keys: 3, crashes: 1, twice: true},
		"everything":            {cuts: 3, half: true, abort: true, lateImages: true, crashes: 1, zombie: true, manager: true, late: true, restart: true, keys: 3, outcomes: true},
		"sequential":            {cuts: 2, half: true, abort: true, sequential: true, copies: 2, twice: true, outcomes: true},
		"queues":                {cuts: 3, half: true, queues: 3, crashes: 1, zombie: true, restart: true, twice: true},
		"queues everything":     {cuts: 3, half: true, abort: true, lateImages: true, crashes: 1, manager: true, late: true, keys: 3, outcomes: true, queues: 3},
		"sequential queues":     {cuts: 2, half: true, abort: true, sequential: true, copies: 2, keys: 3, queues: 3},
		"sequential everything": {cuts: 3, half: true, abort: true, sequential: true, copies: 3, crashes: 1, zombie: true, manager: true, late: true, restart: true, keys: 3},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			first, last := uint64(1), uint64(*schedules)
			if *seed > 0 {
				first, last = *seed, *seed
			}
			ends := map[string]int{}
			for n := first; n <= last; n++ {
				ends[runSim(t, o, n)]++
			}
			t.Logf("%v", ends)
			for _, want := range o.ends() {
				if ends[want] == 0 && *seed == 0 && *schedules >= 2000 {
					t.Errorf("no schedule ended with %s: the simulation does not reach it any more", want)
				}
			}
		})
	}
}

// ends are the ways to end that must be reached by some schedule.
func (o simOptions) ends() []string {
	ends := []string{"COMMIT"}
	if o.abort || o.crashes > 0 || o.manager {
		ends = append(ends, "ABORT")
	}
	if o.crashes > 0 || o.zombie {
		ends = append(ends, "COMMIT by takeover")
	}
	if o.lateImages {
		ends = append(ends, "COMMIT by another attempt")
	}
	if o.copies > 0 {
		ends = append(ends, "COMMIT by another copy")
	}
	return ends
}

func runSim(t *testing.T, o simOptions, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 1))
	s := newSim(r, o)
	want := slices.Clone(s.b.primary)
	m := &simManager{epoch: 1}
	s.b.sequential = o.sequential
	var trace []string
	fail := func(f string, a ...any) {
		t.Helper()
		t.Fatalf("%s\nseed %d; again with -run '%s' -seed %d; the last steps:\n%s", fmt.Sprintf(f, a...), seed, t.Name(), seed, strings.Join(trace[max(0, len(trace)-*tail):], "\n"))
	}
	for n := 0; !s.settled() || s.b.decision == Undecided && n < 4000; n++ {
		if n > 20000 {
			fail("does not come to an end: %s", s.describe())
		}
		act := s.choose(m, n > 1500) // towards the end nothing disturbs any more
		line := fmt.Sprintf("%s: %s", act, s.describe())
		if act != "idle" && (len(trace) == 0 || trace[len(trace)-1] != line) {
			trace = append(trace, line)
		}
		switch {
		case s.b.overlap():
			fail("two take from the primary at once")
		case s.owners() > 1 && !o.zombie:
			fail("two say that they own the state")
		case s.b.fault != "":
			fail("%s", s.b.fault)
		case s.b.decided > 1:
			fail("two decisions")
		}
	}
	for _, p := range append(s.gone, s.procs...) {
		switch p.in.why {
		case ReasonGap, ReasonRelayBroken:
			if o.restart && o.abort { // among all the rest it can be away for longer than patience lasts
				continue
			}
			fallthrough
		case ReasonOutcome, ReasonDigest:
			fail("%s gave up by itself: %s", p.name, p.in.whyText)
		}
	}
	s.judge(want, m.lost, fail)
	switch {
	case s.b.decision == Commit && m.lost:
		return "COMMIT by takeover"
	case s.b.decision == Commit && m.copies > 1:
		return "COMMIT by another copy"
	case s.b.decision == Commit && m.attempt > 1:
		return "COMMIT by another attempt"
	}
	return string(s.b.decision)
}

// owners is how many processes say that they own the state. One that was cut
// off and taken for dead cannot know better; no other has that excuse.
func (s *sim) owners() (n int) {
	for _, p := range s.procs {
		if !p.dead && p.in.Owner() {
			n++
		}
	}
	return n
}

// choose does one random thing that can be done.
func (s *sim) choose(m *simManager, calm bool) string {
	r := s.r
	p := s.procs[r.IntN(len(s.procs))]
	c := p.conn
	switch k := r.IntN(48); {
	case p.dead:
	case s.o.zombie && c != nil && p.in.want == Commit && s.cuts < s.o.cuts+2 && r.IntN(8) == 0:
		s.cuts++ // the moment at which a connection is worth most
		s.cut(p, r.IntN(2) == 0)
		return "cut " + p.name
	case c != nil && len(p.in.ahead) > 0 && s.cuts < s.o.cuts+2 && r.IntN(8) == 0:
		s.cuts++ // … and another
		s.cut(p, false)
		return "cut " + p.name
	case k < 8 && c == nil && p.away > 0 && !calm:
		p.away--
	case k < 8 && c == nil:
		s.connect(p)
		return "connect " + p.name
	case k < 8:
		if len(c.todo) == 0 && c.wants == "" {
			return "idle"
		}
		s.carry(c)
		return "carry " + p.name
	case k < 16 && c != nil && len(c.inbox) > 0:
		ev := c.inbox[0]
		c.inbox = c.inbox[1:]
		s.step(p, ev)
		return fmt.Sprintf("tell %s %T", p.name, ev)
	case k < 16:
	case k < 22 && c != nil:
		if s.b.deliver(c, s.r) {
			return "deliver " + p.name
		}
		return "idle"
	case k < 28 && len(p.running) > 0:
		s.finish(p)
		return "finish " + p.name
	case k >= 36:
		return s.disturb(m, p, k, calm)
	}
	switch k := r.IntN(12); {
	case k < 4:
		m.move(s)
		return "manager"
	case k == 4:
		return s.tick(time.Duration(1+r.IntN(500))*time.Millisecond, calm)
	case k == 5:
		return s.halfOpen(calm)
	}
	return "idle"
}

// disturb does something that is not in the normal course.
func (s *sim) disturb(m *simManager, p *simProcess, k int, calm bool) string {
	r, o := s.r, s.o
	rarely := r.IntN(10) == 0
	switch {
	case calm:
		s.b.down = false
	case k == 36 && s.cuts < o.cuts && p.conn != nil:
		s.cuts++
		s.cut(p, o.half && r.IntN(2) == 0)
		return "cut " + p.name
	case k == 37 && o.abort && !m.gaveUp && rarely && r.IntN(2) == 0:
		m.giveUp(s)
		return "abort"
	case k == 38 && s.crashes < o.crashes && s.b.decision == Undecided && s.b.held && rarely:
		s.crashes++
		s.crash(p, o.half && r.IntN(2) == 0, r.IntN(3) > 0)
		return "crash " + p.name
	case k == 38 && o.sequential && m.copies <= o.copies && (p.in.State() == Restored || p.in.State() == Replaying) && r.IntN(3) == 0:
		s.crash(p, o.half && r.IntN(2) == 0, r.IntN(2) == 0)
		return "crash the copy " + p.name
	case k == 39 && o.late && len(s.sent) > 0:
		c := s.sent[r.IntN(len(s.sent))]
		s.hand(c)
		return "again " + string(c.Kind)
	case k == 40 && o.manager && rarely:
		m.replaced()
		return "another manager"
	case k == 41 && o.manager && !o.sequential && rarely && r.IntN(4) == 0:
		m.dead = true
		return "the manager dies for good"
	case k == 42 && o.restart && rarely:
		s.b.down = !s.b.down
		return "replay queue up or down"
	case k == 43 && o.zombie && r.IntN(3) == 0 && p.pod == simSource && p.conn == nil && s.b.held:
		m.lost, m.zombie = true, p // its node is cut off, and its pod was deleted by force
		s.cuts++
		return "source taken for dead"
	}
	return "idle"
}

func (s *sim) tick(d time.Duration, calm bool) string {
	if calm && s.quiet() {
		d += 10 * time.Second // nothing but time can move it on
	}
	s.now += d
	for _, p := range s.procs {
		s.step(p, Tick{})
	}
	return "tick"
}

// halfOpen lets the broker go on with a connection whose client is gone.
func (s *sim) halfOpen(calm bool) string {
	for _, c := range s.b.conns {
		switch {
		case !c.half:
		case calm || s.r.IntN(3) == 0:
			s.b.drop(c)
			return "the broker drops a half-open connection"
		default:
			s.carry(c)
			return "carry half-open"
		}
	}
	return "idle"
}

// quiet reports whether nothing is under way.
func (s *sim) quiet() bool {
	for _, p := range s.procs {
		if !p.dead && (p.conn == nil || len(p.conn.todo)+len(p.conn.inbox)+len(p.running) > 0) {
			return false
		}
	}
	return true
}

// settled reports whether everybody is where they stay, and all messages are
// handled if there is somebody to do it.
func (s *sim) settled() bool {
	left := len(s.b.primary)
	owned := false
	for _, p := range s.procs {
		if p.dead {
			continue
		}
		switch p.in.State() {
		case Draining, Paused, Relaying, Finishing, Frozen, Restored, Replaying, Held:
			return false
		}
		owned = owned || p.in.Owner()
		if p.conn != nil {
			left += len(p.conn.unacked)
		}
	}
	if s.o.sequential && s.b.decision == Commit && !owned {
		return false // another copy is to be made
	}
	return s.quiet() && (left == 0 || !owned)
}

// judge is the oracle: lost, doubled and reordered applications and outputs.
func (s *sim) judge(want []simMessage, lost bool, fail func(string, ...any)) {
	var owner *simProcess
	for _, p := range s.procs {
		if !p.dead && (p.in.State() == Live || p.in.State() == Relaying) {
			if owner != nil {
				fail("two owners")
			}
			owner = p
		}
	}
	if owner == nil {
		if s.crashes == 0 || s.o.sequential && s.b.decision == Commit {
			fail("no owner: %s", s.describe())
		}
		return // nobody is left to have lost anything
	}
	applied := map[string]int{}
	for _, id := range owner.applied {
		if applied[id]++; applied[id] > 1 {
			fail("%s applied %s twice: %v", owner.name, id, owner.applied)
		}
	}
	outputs := map[string]int{}
	for _, id := range s.b.outputs {
		outputs[id]++
	}
	type place struct{ queue, key string }
	ordered, ofKey := map[place][]string{}, map[string][]string{}
	for _, m := range want {
		id, at := m.name(), place{m.queue, m.key}
		if !slices.Contains(ordered[at], id) {
			ordered[at] = append(ordered[at], id)
		}
		ofKey[m.key] = append(ofKey[m.key], id)
		if applied[id] == 0 && !owner.lost {
			fail("%s never applied %s", owner.name, id)
		}
		done := !s.o.outcomes || !strings.HasSuffix(id, "3")
		if done && outputs[id] == 0 || outputs[id] > 1 && s.cuts+s.crashes == 0 && !s.o.outcomes {
			fail("%d outputs for %s with %d connections lost", outputs[id], id, s.cuts)
		}
	}
	for key, ids := range ordered {
		got := among(owner.applied, ids)
		if !s.o.outcomes && !slices.Equal(got, ids[len(ids)-len(got):]) {
			fail("%s applied the messages of %q in the order %v", owner.name, key, got)
		}
	}
	src := s.procs[0]
	if s.b.decision != Commit || s.crashes > 0 || lost && len(s.b.queues) > 1 {
		return // what a source that was taken over had not relayed comes again, mixed otherwise
	}
	for key, ids := range ofKey {
		was, is := among(src.applied, ids), among(owner.applied, ids)
		if len(is) < len(was) || !slices.Equal(is[:len(was)], was) {
			fail("the target's state of key %q does not begin with the source's: %v, %v", key, is, was)
		}
	}
}

// among are those of the list that are among others, in the list's order.
func among(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return !slices.Contains(others, id) })
}
