package sdk

import (
	"fmt"
	"slices"
	"strings"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/internal/simbroker"
)

// watch is what holds at every moment.
func (s *sim) watch() {
	if len(s.b.Faults) > 0 {
		s.fail("a client did what it must not: %v", s.b.Faults)
	}
	var takers []string // of any queue: who takes one has all
	for _, q := range s.queues {
		takers = append(takers, s.b.Takers(q)...)
	}
	slices.Sort(takers)
	if takers = slices.Compact(takers); len(takers) > 1 && !s.sameState(takers) {
		s.fail("%v take from the primary at once", takers)
	}
	owners := 0
	for _, p := range s.procs {
		if p.owner() {
			owners++
		}
	}
	if owners > 1 {
		s.fail("two owners")
	}
}

// sameState reports whether all but one of the processes named are dead: what
// a dead process holds goes back when the broker notices.
func (s *sim) sameState(names []string) bool {
	alive := 0
	for _, p := range s.procs {
		if !p.dead && slices.Contains(names, p.name) {
			alive++
		}
	}
	return alive <= 1
}

// done reports whether all has come to rest.
func (s *sim) done() bool {
	owned := false
	for _, p := range s.procs {
		if p.dead {
			continue
		}
		switch p.c.State() {
		case handover.Live, handover.Retired, handover.Void:
		default:
			return false
		}
		if len(p.running()) > 0 || p.c.session == nil || p.c.in.InHand() > 0 {
			return false
		}
		owned = owned || p.c.Owner()
	}
	if owned && (s.sent < len(s.messages) || slices.ContainsFunc(s.queues, func(q string) bool { return s.b.Queue(q).Len()+s.b.Held(q) > 0 })) {
		return false
	}
	if s.o.sequential && s.m.decision() == handover.Commit && !owned {
		return false // another copy is to be made
	}
	return s.b.Quiet() && (s.m.decision() != handover.Undecided || s.m.dead)
}

// judge is the oracle at the end: lost, doubled and reordered applications and outputs.
func (s *sim) judge() {
	var owner *simProcess
	for _, p := range s.procs {
		if p.c.State() == handover.Live && !p.dead {
			if owner != nil {
				s.fail("two are live in the end")
			}
			owner = p
		}
	}
	if owner == nil {
		if s.crashes == 0 || s.o.sequential && s.m.decision() == handover.Commit {
			s.fail("nobody is live in the end: %s", s.describe())
		}
		return // nobody is left to have lost anything
	}
	if d := s.m.decision(); d != handover.Undecided && s.crashes == 0 && (d == handover.Commit) != (owner != s.procs[0]) {
		s.fail("%s stands and %s is live", d, owner.name)
	}
	for s.b.Queue(simReports).Len() > 0 {
		s.m.read()
	}
	for _, why := range []handover.Reason{handover.ReasonGap, handover.ReasonOutcome, handover.ReasonDigest, handover.ReasonRelayBroken} {
		if text, ok := s.m.reasons[why]; ok && !s.o.gone {
			s.fail("given up by itself: %s: %s", why, text)
		}
	}
	s.judgeState(owner)
	s.judgeOutputs()
}

func (s *sim) judgeState(owner *simProcess) {
	count := map[string]int{}
	for _, id := range owner.applied {
		if count[id]++; count[id] > 1 {
			s.fail("%s applied %s twice: %v", owner.name, id, owner.applied)
		}
	}
	var sent []string
	for _, m := range s.messages {
		if sent = append(sent, m.name()); count[m.name()] == 0 && !owner.newcomer {
			s.fail("%s never applied %s: %v", owner.name, m.name(), owner.applied)
		}
	}
	if s.o.outcomes {
		return // what is given back comes later
	}
	for _, q := range s.queues {
		for k := range max(1, s.o.keys) {
			prefix := simSend{q, fmt.Sprintf("k%d/", k)}.name()
			want, got := s.ordered(owner, of(prefix, sent)), s.ordered(owner, of(prefix, owner.applied))
			if !slices.Equal(got, want[max(0, len(want)-len(got)):]) {
				s.fail("%s applied in the order %v", owner.name, owner.applied)
			}
		}
	}
}

// ordered leaves out what may come late to a newcomer: what the dead process before
// it held, which the newcomer cannot know of, and does not wait for the queues to
// have back (docs/model, what is left out).
func (s *sim) ordered(owner *simProcess, names []string) []string {
	if !owner.newcomer {
		return names
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(slices.Concat(s.procs, s.before), func(p *simProcess) bool {
			return p.dead && slices.ContainsFunc(s.b.CameBack(p.name), func(m *simbroker.Message) bool { return string(m.Body) == name })
		})
	})
}

// of are the messages whose names begin so, each where it is first.
func of(prefix string, names []string) []string {
	var some []string
	for _, n := range names {
		if strings.HasPrefix(n, prefix) && !slices.Contains(some, n) {
			some = append(some, n)
		}
	}
	return some
}

func (s *sim) judgeOutputs() {
	disturbed := s.lost+s.restarts+s.crashes+len(s.before) > 0
	seen := map[string]int{}
	var outputs []string
	for m := s.b.Take(simOut); m != nil; m = s.b.Take(simOut) {
		outputs = append(outputs, string(m.Body))
		seen[string(m.Body)]++
	}
	var want []string
	for _, m := range s.messages {
		id := m.name()
		if s.rejects(id) || slices.Contains(want, id) {
			continue
		}
		want = append(want, id)
		if seen[id] == 0 || seen[id] > 1 && !disturbed && !s.o.gone {
			s.fail("%d outputs for %s, with %d connections lost, %d restarts, %d crashes", seen[id], id, s.lost, s.restarts, s.crashes)
		}
	}
	for _, q := range s.queues {
		if prefix := (simSend{queue: q}).name(); !disturbed && !s.o.gone && !s.o.outcomes && s.o.keys == 0 && !slices.Equal(of(prefix, outputs), of(prefix, want)) {
			s.fail("outputs out of order: %v", outputs)
		}
	}
}
