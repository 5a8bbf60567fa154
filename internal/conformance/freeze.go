package conformance

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

// frozen freezes a source in the middle of a backlog.
func (s *stage) frozen(clause string) {
	busy := append([]message{{id: "busy", words: "sleep=600"}}, many("backlog", 20)...)
	s.publish(busy...)
	s.delivered("busy")
	h := s.ask(handover.Freeze)
	s.need(clause, h.Kind == handover.ReportFrozen && h.Status.State == handover.Frozen, "FROZEN", string(h.raw))
	ends := 0
	s.poll(s.cfg.Patience, func() bool { all := s.relayed(); return len(all) > 0 && all[len(all)-1].Kind == handover.EntryEnd })
	all := s.relayed()
	for _, e := range all {
		if e.Kind == handover.EntryEnd {
			ends++
		}
	}
	last := all[len(all)-1]
	s.need(clause, ends == 1 && last.Kind == handover.EntryEnd && last.Number == h.Status.Number && last.Takeover == "", fmt.Sprintf("one END_REPLAY, the last entry, with the number %d of FROZEN", h.Status.Number), fmt.Sprintf("%d, the last entry is %+v", ends, last.EntryHeader))
	s.check(clause, len(all) > 1 && all[len(all)-2].Number == last.Number || last.Number == 3, "every message up to that number before it", fmt.Sprintf("%+v", all[max(0, len(all)-2)].EntryHeader))
}

// commitSource: END_REPLAY, and COMMIT that nobody tells of.
func commitSource(s *stage) {
	s.relaying()
	s.frozen("freeze.end")
	done := int(s.ask(handover.Hello).Status.Number) - 3 // of busy and backlog
	s.check("freeze.begun", done >= 1 && s.settled("busy") == "ack", "what is begun is finished: number 4 or more, busy acknowledged", fmt.Sprintf("number %d, busy %q", done+3, s.settled("busy")))
	q := s.inspect()
	s.check("freeze.gives-back", q.Messages == 21-done && q.Consumers == 0, fmt.Sprintf("the other %d messages back in the queue, no consumer", 21-done), fmt.Sprintf("%d messages, %d consumers", q.Messages, q.Consumers))
	again := s.ask(handover.Freeze)
	s.check("freeze.again", again.Kind == handover.ReportFrozen, "FROZEN again", string(again.raw))
	s.proxy.Cut() // a lost connection leads nowhere else
	s.stand(handover.Frozen)
	s.quiet(300 * time.Millisecond)
	s.check("freeze.still", len(s.said()) == 3+done && s.inspect().Consumers == 0, "nothing is handled while Frozen, on the next connection either", fmt.Sprintf("%d outputs more", len(s.said())-3-done))

	since := s.now()
	s.decide(handover.Commit)
	r, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportRetired })
	s.need("freeze.retires", ok && r.Status.State == handover.Retired && r.Status.Decision == handover.Commit, "RETIRED, soon after COMMIT stands, though nobody tells", string(r.raw))
	told := s.ask(handover.Retire)
	s.check("freeze.retires", told.Kind == handover.ReportRetired, "RETIRED, answering RETIRE", string(told.raw))
	s.publish(many("after", 2)...)
	s.quiet(300 * time.Millisecond)
	s.check("freeze.retired-still", s.inspect().Consumers == 0 && len(s.said()) == 3+done, "nothing is taken any more", fmt.Sprintf("%d consumers", s.inspect().Consumers))
}

// abortSource: back to Live, as if nothing had happened.
func abortSource(s *stage) {
	s.relaying()
	slow := message{id: "slow", words: "sleep=1500"}
	s.publish(slow)
	s.delivered("slow")
	s.refused("abort.freeze-deadline", s.ask(handover.Freeze, deadline(300*time.Millisecond)), handover.Freeze, handover.ReasonDrainDeadline)
	s.check("abort.freeze-deadline", s.ask(handover.Hello).Status.State == handover.Relaying, "Relaying on", "not")
	s.handled(slow)
	_, ok := s.entryOf("slow")
	s.check("abort.freeze-deadline", ok, "the message is relayed", "not")
	s.frozen("abort.end")
	s.decide(handover.Aborted)
	since := s.now()
	s.tell(handover.Abort)
	h, live := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportLive })
	s.need("abort.live", live && h.Status.State == handover.Live && h.Status.Decision == handover.Aborted, "LIVE, decision ABORT", string(h.raw))
	n := len(s.relayed())
	ms := append(many("backlog", 20), many("after", 3)...)
	s.publish(ms[20:]...)
	for _, m := range ms {
		if _, ok := s.outputOf(m.id); !ok {
			s.stop("message %s is not handled after ABORT", m.id)
		}
	}
	for _, m := range ms {
		s.check("abort.goes-on", s.outputsOf(m.id) == 1, m.id+" handled once", s.outputsOf(m.id))
	}
	s.check("abort.goes-on", s.poll(s.cfg.Patience, func() bool { return s.settled("after-2") == "ack" }) && len(s.relayed()) == n, "acknowledged, and not relayed any more", fmt.Sprintf("%q, %d entries more", s.settled("after-2"), len(s.relayed())-n))
	s.refused("abort.over", s.ask(handover.Prepare), handover.Prepare, handover.ReasonStale)
	s.check("abort.over", s.ask(handover.Hello).Status.State == handover.Live, "Live", "not")

	number := s.ask(handover.Hello).Status.Number
	old := s.migration
	s.migration = "second-" + s.id
	p := s.ask(handover.Prepare)
	s.check("abort.next", p.Kind == handover.ReportPrepared && p.Status.Number == number && p.Status.Migration == s.migration, fmt.Sprintf("PREPARED for another migration; the numbers go on from %d", number), string(p.raw))
	s.migration = old
}

// leases: nobody waits for a manager for ever.
func leases(s *stage) {
	s.lease = 1500 * time.Millisecond
	s.relaying()
	for range 8 {
		s.tell(handover.Hello)
		s.quiet(400 * time.Millisecond)
	}
	began := time.Now()
	s.check("lease.renewed", s.ask(handover.Hello).Status.State == handover.Relaying && s.decided() == handover.Undecided, "Relaying: HELLO renews the lease", s.decided())
	d := s.awaitDecision(s.cfg.Patience)
	took := time.Since(began)
	s.need("lease.aborts", d == handover.Aborted && took > time.Second, "ABORT, written when the lease of 1.5 s has passed", fmt.Sprintf("%q after %v", d, took))
	h, ok := s.reach(s.cfg.Patience, handover.Live)
	s.need("lease.live", ok, "Live", string(h.raw))
	m := many("after", 2)
	s.publish(m...)
	s.handled(m...)
}

// frozenLease: the same when Frozen.
func frozenLease(s *stage) {
	s.lease = 1500 * time.Millisecond
	s.relaying()
	s.frozen("frozen-lease.aborts")
	d := s.awaitDecision(s.cfg.Patience)
	s.need("frozen-lease.aborts", d == handover.Aborted, "ABORT, written when the lease has passed", fmt.Sprintf("%q", d))
	h, ok := s.reach(s.cfg.Patience, handover.Live)
	s.check("frozen-lease.aborts", ok, "Live", string(h.raw))
}

// commitFirst: COMMIT stands when the lease ends.
func commitFirst(s *stage) {
	s.lease = 1500 * time.Millisecond
	s.relaying()
	s.decide(handover.Commit)
	r, ok := s.hear(0, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportRetired })
	s.check("lease.obeys-commit", ok, "Retired: it gives up, and obeys COMMIT, which stands", string(r.raw))
}
