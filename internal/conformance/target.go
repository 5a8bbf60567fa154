package conformance

import (
	"bytes"
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

// restored makes the process a copy: it is Paused, finds itself in another pod,
// and its connection is gone, as a restored process sees it.
func (s *stage) restored() {
	s.begin()
	s.ask(handover.Prepare)
	s.proxy.Refuse(true)
	s.proxy.Cut()
	s.enter("pod-b-" + s.id)
	s.proxy.Refuse(false)
	s.stand(handover.Restored)
}

// replaying makes it a copy that replays.
func (s *stage) replaying(change ...option) {
	s.restored()
	s.ask(handover.StartReplay, change...)
}

// reads waits until it has applied up to a number.
func (s *stage) reads(number uint64) bool {
	return s.poll(s.cfg.Patience, func() bool { return s.ask(handover.Hello).Status.Number == number })
}

// takesNothing reports whether nothing was taken from the primary since a mark in the frames.
func (s *stage) takesNothing(mark int) bool {
	return first(s.proxy.Frames(mark), s.consumesPrimary) < 0
}

// replay: a copy, from waking to COMMIT.
func replay(s *stage) {
	s.begin()
	was := s.ask(handover.Prepare).Status
	s.publish(many("waiting", 2)...)
	mark := s.proxy.Len()
	s.proxy.Refuse(true)
	s.proxy.Cut()
	source := s.pod
	s.enter("pod-b-" + s.id)
	s.proxy.Refuse(false)
	h, ok := s.reach(s.cfg.Patience, handover.Restored)
	s.need("replay.restored", ok && h.Status.PodUID == s.pod && h.Status.Number == 3 && h.Status.Incarnation == was.Incarnation, "Restored, in the new pod, number 3, its incarnation as it was", string(h.raw))
	s.check("replay.fenced", s.locked(s.pod) && !s.locked(source), "the control queue of the new pod is its own, that of the old one is not", fmt.Sprintf("%v, %v", s.locked(s.pod), s.locked(source)))

	// What the source has handled since: entries, as a source writes them.
	big := message{id: "big", body: bytes.Repeat([]byte("x"), handover.MaxPartBytes+1)}
	s.write(3, message{id: "before-2", body: []byte("before")}, handover.EntryHeader{}) // is in the image
	s.replays(4, message{id: "m4"}, handover.EntryHeader{})
	s.replays(5, message{id: "m5", words: "once=dice"}, handover.EntryHeader{Records: []handover.Record{{Name: "dice", Value: []byte("six")}}})
	r := s.ask(handover.StartReplay)
	s.need("replay.start", r.Kind == handover.ReportReplaying && r.Status.State == handover.Replaying, "REPLAYING", string(r.raw))
	s.check("replay.start", s.ask(handover.StartReplay).Kind == handover.ReportReplaying, "REPLAYING again", "not")
	s.check("replay.applies", s.reads(5), "number 5: the entries after the image, none of it", s.ask(handover.Hello).Status.Number)

	s.write(4, message{id: "m4"}, handover.EntryHeader{}) // published again
	s.write(6, message{id: "m6", words: "reject"}, handover.EntryHeader{Outcome: handover.Rejected})
	s.write(7, message{id: "m7", words: "requeue"}, handover.EntryHeader{Outcome: handover.Requeued})
	s.replays(8, message{id: "m7", words: "requeue"}, handover.EntryHeader{})
	s.replays(9, big, handover.EntryHeader{})
	s.check("replay.outcomes", s.reads(9), "number 9: entries that were rejected, requeued, in parts, or written twice", s.ask(handover.Hello).Status.Number)
	s.write(11, message{id: "m11"}, handover.EntryHeader{}) // before the missing one
	s.check("replay.order", s.ask(handover.Hello).Status.Number == 9, "number 9: entry 11 is not applied before 10", s.ask(handover.Hello).Status.Number)
	s.replays(10, message{id: "m10"}, handover.EntryHeader{})
	s.replays(11, message{id: "m11"}, handover.EntryHeader{})
	s.check("replay.order", s.reads(11), "number 11, when 10 and 11 have come", s.ask(handover.Hello).Status.Number)
	s.proxy.Cut()
	s.stand(handover.Replaying)
	s.replays(12, message{id: "m12"}, handover.EntryHeader{})
	s.check("replay.reconnects", s.reads(12), "number 12, on the next connection", s.ask(handover.Hello).Status.Number)

	since := s.now()
	p, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportProgress })
	s.check("replay.progress", ok && p.Status.Number == 12, "PROGRESS, unasked, number 12", string(p.raw))
	s.check("replay.suppressed", len(s.said()) == 3, "no output of what is replayed", describe(len(s.said())-3, "outputs"))
	s.check("replay.takes-nothing", s.takesNothing(mark) && s.decided() == handover.Undecided, "nothing taken from the primary queue, nothing decided", "basic.consume, or a decision")

	since = s.now()
	s.end(handover.EntryHeader{Number: 12})
	l, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportLive })
	s.need("replay.commits", ok && l.Status.State == handover.Live && s.decided() == handover.Commit, "LIVE, and COMMIT stands", fmt.Sprintf("%s, %q", l.raw, s.decided()))
	s.publish(many("after", 2)...)
	ms := append(many("waiting", 2), many("after", 2)...)
	for i := range ms {
		t, ok := s.outputOf(ms[i].id)
		s.model.apply(ms[i].id, ms[i].body, "")
		s.check("replay.state", ok && t.Count == s.model.count && t.Chain == s.model.chain, fmt.Sprintf("%s handled in the source's state: %+v", ms[i].id, s.model), fmt.Sprintf("%+v", t))
	}
	s.check("replay.number", s.reads(16), "number 16: they count on", s.ask(handover.Hello).Status.Number)
	s.check("replay.again", s.ask(handover.Abort).Kind == handover.ReportLive, "LIVE, answering ABORT: COMMIT stands", "not")
}

// replays writes an entry whose message is then part of the state.
func (s *stage) replays(number uint64, m message, h handover.EntryHeader) {
	s.write(number, m, h)
	once := ""
	if len(h.Records) > 0 {
		once = string(h.Records[0].Value)
	}
	s.model.apply(m.id, m.body, once)
}

// givesUp checks that the copy is Void for a reason, has written what it must, and takes nothing.
func (s *stage) givesUp(clause string, reason handover.Reason, want handover.Decision) {
	h, ok := s.reach(s.cfg.Patience, handover.Void)
	s.need(clause, ok, "Void", string(h.raw))
	s.check(clause, reason == "" || h.Reason == reason, "reason "+string(reason), string(h.raw))
	s.check(clause, s.decided() == want, fmt.Sprintf("the decision %q", want), fmt.Sprintf("%q", s.decided()))
	mark := s.proxy.Len()
	s.publish(many("never", 2)...)
	s.quiet(300 * time.Millisecond)
	s.check(clause, s.takesNothing(mark) && s.inspect().Consumers == 0 && len(s.said()) == 3, "nothing is taken or put out any more", fmt.Sprintf("%d consumers, %d outputs more", s.inspect().Consumers, len(s.said())-3))
}

func gapAtEnd(s *stage) {
	s.replaying()
	s.write(4, message{id: "m4"}, handover.EntryHeader{})
	s.end(handover.EntryHeader{Number: 5})
	s.givesUp("void.gap", handover.ReasonGap, handover.Aborted)
}

func otherOutcome(s *stage) {
	s.replaying()
	s.write(4, message{id: "m4"}, handover.EntryHeader{Outcome: handover.Rejected})
	s.givesUp("void.outcome", handover.ReasonOutcome, handover.Aborted)
}

func otherRecord(s *stage) {
	s.replaying()
	s.write(4, message{id: "m4", words: "once=dice"}, handover.EntryHeader{Records: []handover.Record{{Name: "clock"}}})
	s.givesUp("void.record", handover.ReasonOutcome, handover.Aborted)
}

func otherDigest(s *stage) {
	s.replaying()
	s.end(handover.EntryHeader{Number: 3, Digest: []byte("another state")})
	s.givesUp("void.digest", handover.ReasonDigest, handover.Aborted)
}

func lateReplay(s *stage) {
	s.replaying(deadline(1500 * time.Millisecond))
	s.givesUp("void.deadline", handover.ReasonDeadline, handover.Aborted)
}

func aloneRestored(s *stage) {
	s.lease = 2 * time.Second
	s.restored()
	d := s.awaitDecision(s.cfg.Patience)
	s.need("void.lease", d == handover.Aborted, "ABORT, written when the lease has passed", fmt.Sprintf("%q", d))
	s.givesUp("void.lease", handover.ReasonDeadline, handover.Aborted)
}

// abortedFirst: ABORT stands when the copy reaches the end.
func abortedFirst(s *stage) {
	s.replaying()
	s.decide(handover.Aborted)
	s.end(handover.EntryHeader{Number: 3})
	s.givesUp("void.aborted", "", handover.Aborted)
}

// abortedAway: ABORT was written while the copy had no connection.
func abortedAway(s *stage) {
	s.begin()
	s.ask(handover.Prepare)
	s.proxy.Refuse(true)
	s.proxy.Cut()
	s.enter("pod-b-" + s.id)
	s.decide(handover.Aborted)
	s.proxy.Refuse(false)
	s.givesUp("void.aborted-away", "", handover.Aborted)
}

// notPaused: a copy of an image that was not taken at the safe point.
func notPaused(s *stage) {
	s.relaying()
	s.proxy.Refuse(true)
	s.proxy.Cut()
	s.enter("pod-b-" + s.id)
	s.proxy.Refuse(false)
	s.givesUp("void.not-paused", handover.ReasonNotPaused, handover.Undecided)
}

// fenced: a process whose control queue another connection has.
func fenced(s *stage) {
	letGo := s.fence(s.pod)
	s.publish(many("m", 2)...)
	s.start()
	s.poll(s.cfg.Patience, func() bool {
		return first(s.proxy.Frames(0), toBroker(QueueDeclare, func(f Frame) bool { return f.Queue == handover.ControlQueue(s.pod) })) >= 0
	})
	s.quiet(time.Second)
	s.check("fenced.starts-not", s.takesNothing(0), "nothing is taken from the primary queue", "basic.consume")
	letGo()
	s.stand(handover.Live)
	s.handled(many("m", 2)...)
	s.check("fenced.starts", true, "", "")

	// It relays, is cut off, and is taken for dead.
	s.ask(handover.Prepare)
	s.ask(handover.Resume)
	s.proxy.Refuse(true)
	s.proxy.Cut()
	gone := s.poll(s.cfg.Patience, func() bool { return s.inspect().Consumers == 0 && !s.locked(s.pod) })
	if !gone {
		s.stop("the broker keeps the connection that was cut")
	}
	letGo = s.fence(s.pod)
	mark := s.proxy.Len()
	s.proxy.Refuse(false)
	s.publish(many("later", 2)...)
	s.quiet(time.Second)
	s.check("fenced.zombie", s.takesNothing(mark), "nothing is taken while a target fences it off", "basic.consume")
	s.decide(handover.Commit)
	letGo()
	h, ok := s.reach(s.cfg.Patience, handover.Retired)
	s.check("fenced.zombie", ok && s.takesNothing(mark), "Retired, without having taken anything, when the fence is let go", string(h.raw))
}

// takeover: the source is dead, and the copy ends the replay queue itself.
func takeover(s *stage) {
	source := s.pod
	s.replaying()
	s.replays(4, message{id: "m4"}, handover.EntryHeader{})
	letGo := s.fence(source) // the broker still has the source's connection
	s.end(handover.EntryHeader{Takeover: "of-another-target"})
	h := s.ask(handover.TakeOver, func(c *handover.Command) { c.FencePodUID = source })
	s.need("takeover.taken", h.Kind == handover.ReportReplaying, "REPLAYING", string(h.raw))
	s.replays(5, message{id: "m5"}, handover.EntryHeader{}) // on its way from the source
	s.quiet(500 * time.Millisecond)
	st := s.ask(handover.Hello).Status
	s.check("takeover.waits", st.State == handover.Replaying && s.decided() == handover.Undecided, "Replaying and undecided, as long as the broker keeps the source's connection", fmt.Sprintf("%s, %q", st.State, s.decided()))
	s.check("takeover.foreign-end", st.Number == 5 && st.State == handover.Replaying, "number 5: an end with another token means nothing", fmt.Sprintf("%s, number %d", st.State, st.Number))
	since := s.now()
	letGo()
	l, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportLive })
	s.need("takeover.commits", ok && s.decided() == handover.Commit, "LIVE, and COMMIT stands", fmt.Sprintf("%s, %q", l.raw, s.decided()))
	var end *entry
	for _, e := range s.relayed() {
		if e.Kind == handover.EntryEnd && e.Takeover != "of-another-target" {
			end = &e
		}
	}
	s.check("takeover.end", end != nil && end.Takeover != "", "an end with a token, written by the copy", fmt.Sprintf("%+v", end))
	s.check("takeover.lets-go", s.poll(s.cfg.Patience, func() bool { return !s.locked(source) }), "the source's control queue is let go after the decision", "it is kept")
	m := message{id: "after"}
	s.publish(m)
	t, ok := s.outputOf(m.id)
	s.model.apply(m.id, m.body, "")
	s.check("takeover.state", ok && t.Chain == s.model.chain, fmt.Sprintf("%+v", s.model), fmt.Sprintf("%+v", t))
}
