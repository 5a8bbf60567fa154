package sdk

import (
	"fmt"
	"slices"

	"ms2m.dev/ms2m/sdk/handover"
)

// watch is what holds at every moment.
func (s *sim) watch() {
	if len(s.b.Faults) > 0 {
		s.fail("a client did what it must not: %v", s.b.Faults)
	}
	if takers := s.b.Takers(simQueue); len(takers) > 1 {
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

// done reports whether all has come to rest.
func (s *sim) done() bool {
	if s.sent < s.total || s.b.Queue(simQueue).Len() > 0 || s.b.Held(simQueue) > 0 || !s.b.Quiet() {
		return false
	}
	for _, p := range s.procs {
		switch p.c.State() {
		case handover.Live, handover.Retired, handover.Void:
		default:
			return false
		}
		if len(p.running()) > 0 || p.c.session == nil || p.c.in.InHand() > 0 {
			return false
		}
	}
	return s.m.decision() != handover.Undecided || s.m.dead
}

// judge is the oracle at the end: lost, doubled and reordered applications and outputs.
func (s *sim) judge() {
	var want []string
	for i := range s.total {
		want = append(want, fmt.Sprint("p-", i))
	}
	var owner *simProcess
	for _, p := range s.procs {
		if p.c.State() == handover.Live {
			if owner != nil {
				s.fail("two are live in the end")
			}
			owner = p
		}
	}
	if owner == nil {
		s.fail("nobody is live in the end: %s", s.describe())
		return
	}
	if !slices.Equal(owner.applied, want) {
		s.fail("%s is live in the end and applied %v", owner.name, owner.applied)
	}
	seen := map[string]int{}
	var outputs []string
	for m := s.b.Take(simOut); m != nil; m = s.b.Take(simOut) {
		outputs = append(outputs, string(m.Body))
		seen[string(m.Body)]++
	}
	for _, id := range want {
		if seen[id] == 0 || seen[id] > 1 && s.lost == 0 {
			s.fail("%d outputs for %s, with %d connections lost", seen[id], id, s.lost)
		}
	}
	if s.lost == 0 && !slices.Equal(outputs, want) {
		s.fail("outputs out of order: %v", outputs)
	}
	if d := s.m.decision(); d != handover.Undecided && (d == handover.Commit) != (owner != s.procs[0]) {
		s.fail("%s stands and %s is live", d, owner.name)
	}
}
