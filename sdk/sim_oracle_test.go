package sdk

import (
	"fmt"
	"slices"
	"strings"

	"ms2m.dev/ms2m/sdk/handover"
)

// watch is what holds at every moment.
func (s *sim) watch() {
	if len(s.b.Faults) > 0 {
		s.fail("a client did what it must not: %v", s.b.Faults)
	}
	if takers := s.b.Takers(simQueue); len(takers) > 1 && !s.sameState(takers) {
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
	if owned && (s.sent < len(s.messages) || s.b.Queue(simQueue).Len() > 0 || s.b.Held(simQueue) > 0) {
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
	for _, id := range s.messages {
		if count[id] == 0 && !owner.newcomer {
			s.fail("%s never applied %s: %v", owner.name, id, owner.applied)
		}
	}
	if s.o.outcomes {
		return // what is given back comes later
	}
	for k := range max(1, s.o.keys) {
		of := func(ids []string) []string {
			var some []string
			for _, id := range ids {
				if strings.HasPrefix(id, fmt.Sprintf("k%d/", k)) && !slices.Contains(some, id) {
					some = append(some, id)
				}
			}
			return some
		}
		want, got := of(s.messages), of(owner.applied)
		if !slices.Equal(got, want[max(0, len(want)-len(got)):]) {
			s.fail("%s applied in the order %v", owner.name, owner.applied)
		}
	}
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
	for _, id := range s.messages {
		if s.rejects(id) || slices.Contains(want, id) {
			continue
		}
		want = append(want, id)
		if seen[id] == 0 || seen[id] > 1 && !disturbed && !s.o.gone {
			s.fail("%d outputs for %s, with %d connections lost, %d restarts, %d crashes", seen[id], id, s.lost, s.restarts, s.crashes)
		}
	}
	if !disturbed && !s.o.gone && !s.o.outcomes && s.o.keys == 0 && !slices.Equal(outputs, want) {
		s.fail("outputs out of order: %v", outputs)
	}
}
