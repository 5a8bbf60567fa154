package conformance

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

func sequential(c *handover.Command) { c.Sequential = true }

// relayingSequential brings the process to Relaying in a sequential migration.
func (s *stage) relayingSequential() {
	s.begin()
	s.ask(handover.Prepare, sequential)
	s.ask(handover.Resume)
	s.stand(handover.Relaying)
}

// sequentialSource: END_REPLAY is the point of no return.
func sequentialSource(s *stage) {
	s.begin()
	s.ask(handover.Prepare, sequential, deadline(500*time.Millisecond))
	s.stand(handover.Relaying) // by itself
	s.ask(handover.Resume)
	s.refused("sequential.vouches", s.ask(handover.Freeze), handover.Freeze, handover.ReasonNotPaused)
	s.attempt = 2
	s.ask(handover.Prepare, sequential)
	s.ask(handover.Resume)
	s.stand(handover.Relaying)
	m := many("tail", 3)
	s.publish(m...)
	s.handled(m...)
	s.quiet(300 * time.Millisecond)
	s.proxy.Judge(func(f Frame) Verdict {
		if !f.ToBroker && f.Method == BasicAck {
			return Hold
		}
		return Pass
	})
	s.tell(handover.Freeze)
	ended := func() bool { all := s.relayed(); return len(all) > 0 && all[len(all)-1].Kind == handover.EntryEnd }
	s.need("sequential.commits", s.poll(s.cfg.Patience, ended), "END_REPLAY", "none")
	s.quiet(400 * time.Millisecond)
	s.check("sequential.commits", s.decided() == handover.Undecided, "no decision before END_REPLAY is confirmed", s.decided())
	s.proxy.Release()
	d := s.awaitDecision(s.cfg.Patience)
	s.need("sequential.commits", d == handover.Commit, "COMMIT, written by the source", fmt.Sprintf("%q", d))
	h, ok := s.reach(s.cfg.Patience, handover.Retired)
	s.need("sequential.retires", ok, "Retired", string(h.raw))
	s.publish(many("after", 2)...)
	s.quiet(300 * time.Millisecond)
	s.check("sequential.retires", s.inspect().Consumers == 0, "nothing is taken any more", fmt.Sprintf("%d consumers", s.inspect().Consumers))
}

// sequentialAborted: until END_REPLAY, ABORT leaves the source as it was.
func sequentialAborted(s *stage) {
	s.relayingSequential()
	s.decide(handover.Aborted)
	since := s.now()
	s.tell(handover.Freeze)
	h, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportLive })
	s.need("sequential-abort.live", ok && h.Status.State == handover.Live, "LIVE: ABORT stood when it wanted COMMIT", string(h.raw))
	m := many("after", 2)
	s.publish(m...)
	s.handled(m...)
}

// sequentialRestored is a copy that wakes when COMMIT stands.
func (s *stage) sequentialRestored() {
	s.begin()
	s.ask(handover.Prepare, sequential)
	s.proxy.Refuse(true)
	s.proxy.Cut()
	s.enter("pod-b-" + s.id)
	s.decide(handover.Commit)
	s.proxy.Refuse(false)
}

// sequentialCopy: COMMIT is the source's word, and only the end makes it live.
func sequentialCopy(s *stage) {
	s.sequentialRestored()
	h, ok := s.reach(s.cfg.Patience, handover.Restored)
	s.need("sequential-copy.waits", ok && h.Status.Decision == handover.Commit, "Restored, with decision COMMIT", string(h.raw))
	s.tell(handover.Retire)
	s.quiet(300 * time.Millisecond)
	s.check("sequential-copy.waits", s.ask(handover.Hello).Status.State == handover.Restored, "Restored after RETIRE", "not")
	s.replays(4, message{id: "m4"}, handover.EntryHeader{})
	s.ask(handover.StartReplay)
	s.need("sequential-copy.goes-on", s.reads(4), "number 4", s.ask(handover.Hello).Status.Number)
	s.tell(handover.Retire)
	s.tell(handover.Abort)
	s.quiet(300 * time.Millisecond)
	mark := s.proxy.Len()
	s.proxy.Cut()
	again := toBroker(BasicConsume, func(f Frame) bool { return f.Queue == s.replay })
	s.need("sequential-copy.goes-on", s.poll(s.cfg.Patience, func() bool { return first(s.proxy.Frames(mark), again) >= 0 }), "the replay queue read again after a lost connection", "not")
	s.replays(5, message{id: "m5"}, handover.EntryHeader{})
	s.check("sequential-copy.goes-on", s.reads(5), "number 5, on the next connection", s.ask(handover.Hello).Status.Number)
	s.check("sequential-copy.goes-on", s.inspect().Consumers == 0, "nothing is taken from the primary queue", "a consumer")
	since := s.now()
	s.end(handover.EntryHeader{Number: 5})
	l, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportLive })
	s.need("sequential-copy.live", ok && l.Status.State == handover.Live, "LIVE", string(l.raw))
	m := message{id: "after"}
	s.publish(m)
	t, ok := s.outputOf(m.id)
	s.model.apply(m.id, m.body, "")
	s.check("sequential-copy.live", ok && t.Chain == s.model.chain, fmt.Sprintf("%+v", s.model), fmt.Sprintf("%+v", t))
}

// sequentialGap: a copy that gives up leaves the state to the next one.
func sequentialGap(s *stage) {
	s.sequentialRestored()
	s.stand(handover.Restored)
	s.ask(handover.StartReplay)
	s.write(4, message{id: "m4"}, handover.EntryHeader{})
	s.end(handover.EntryHeader{Number: 5})
	s.givesUp("sequential-gap.void", handover.ReasonGap, handover.Commit)
}

// heldOn: a process for which COMMIT is not the word to start.
type heldOn struct {
	sequential bool // … as it is in the target pod; else by the queue slot
	forgotten  bool // nobody removes the hold
}

func (h heldOn) play(s *stage) {
	clause := s.results[0].ID
	key := handover.QueueSlot(s.queue)
	var env []string
	if h.sequential {
		key, env = s.migration, []string{handover.EnvMigration + "=" + s.migration}
	}
	hold := handover.Hold{Version: handover.Version, Migration: s.migration, SourcePod: "source-" + s.id, DeadlineMillis: 60_000, Sequential: h.sequential}
	if h.forgotten {
		hold.DeadlineMillis = 3000
	}
	s.hold(key, hold)
	ms := many("m", 3)
	s.publish(ms...)
	s.decide(handover.Commit)
	began := time.Now()
	s.start(env...)
	r, ok := s.reach(s.cfg.Patience, handover.Held)
	s.need(clause, ok && r.Status.Decision == handover.Commit, "Held, with decision COMMIT", string(r.raw))
	s.tell(handover.Retire)
	s.quiet(1500 * time.Millisecond)
	s.check(clause, s.takesNothing(0), "nothing is taken from the queue while the hold is there", "basic.consume")
	if !h.forgotten {
		s.must(rabbitmq.ClearHold(s.conn, key))
	}
	r, ok = s.reach(s.cfg.Patience, handover.Live)
	s.need(clause, ok, "Live", string(r.raw))
	s.check(clause, !h.forgotten || time.Since(began) > 3*time.Second, "not before the hold's deadline (3 s), counted from COMMIT", time.Since(began))
	s.handled(ms...)
}
