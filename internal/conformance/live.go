package conformance

import (
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// first is the index of the first frame that is as asked for, or -1.
func first(frames []Frame, ok func(Frame) bool) int { return slices.IndexFunc(frames, ok) }

func toBroker(m Method, ok func(Frame) bool) func(Frame) bool {
	return func(f Frame) bool { return f.ToBroker && f.Method == m && ok(f) }
}

// consumesPrimary is a frame by which the implementation takes from its queue.
func (s *stage) consumesPrimary(f Frame) bool {
	return f.ToBroker && (f.Method == BasicConsume || f.Method == BasicGet) && f.Queue == s.queue
}

// live: a process that nobody migrates.
func live(s *stage) {
	s.start()
	s.stand(handover.Live)
	s.poll(s.cfg.Patience, func() bool { return first(s.proxy.Frames(0), s.consumesPrimary) >= 0 })
	frames := s.proxy.Frames(0)
	takes := first(frames, s.consumesPrimary)
	control := first(frames, toBroker(QueueDeclare, func(f Frame) bool { return f.Queue == handover.ControlQueue(s.pod) }))
	s.need("live.consumes", takes >= 0, "basic.consume of "+s.queue, "none")
	s.need("live.control", control >= 0, "queue.declare of "+handover.ControlQueue(s.pod), "none")
	s.check("live.control", frames[control].Exclusive && !frames[control].Passive, "exclusive, not passive", fmt.Sprintf("%+v", frames[control]))
	looks := func(key string) func(Frame) bool {
		return func(f Frame) bool {
			return f.ToBroker && f.Queue == handover.HoldQueue(key) && (f.Method == QueueDeclare && f.Passive || f.Method == BasicGet)
		}
	}
	for _, key := range []string{s.pod, handover.PodSlot("conformance", s.podName), handover.QueueSlot(s.queue)} {
		at := first(frames, looks(key))
		s.check("live.holds", at >= 0 && at < takes, "a look at the queue "+handover.HoldQueue(key)+" before basic.consume", at)
		s.check("live.control-first", at < 0 || control < at, "the control queue declared before the holds are looked at", fmt.Sprintf("frame %d, then %d", control, at))
	}
	s.check("live.control-first", control < takes, "the control queue declared before basic.consume", fmt.Sprintf("frame %d, then %d", control, takes))

	h := s.ask(handover.Hello)
	s.check("live.hello", h.Kind == handover.ReportHello && h.Answers == handover.Hello && h.Version == handover.Version, "kind HELLO, answers HELLO, version 1", string(h.raw))
	s.check("live.hello", h.correlation != "", "the command's correlation-id", "none")
	st := h.Status
	s.check("live.status", st.PodUID == s.pod && st.State == handover.Live && st.Queue == s.queue && st.Incarnation != "" && st.Identity == handover.IdentityMessageID,
		fmt.Sprintf("podUID %s, Live, queue %s, an incarnation, identity message-id", s.pod, s.queue), string(h.raw))
	for _, f := range frames {
		if f.ToBroker && f.Method == BasicQos && f.Channel == frames[takes].Channel {
			s.check("live.prefetch", f.Prefetch > 0 && int(f.Prefetch) == st.Prefetch && st.Prefetch == prefetch, fmt.Sprintf("basic.qos and status.prefetch are PREFETCH, %d", prefetch), fmt.Sprintf("basic.qos %d, status %d", f.Prefetch, st.Prefetch))
		}
	}
	s.check("live.prefetch", st.Prefetch == prefetch, fmt.Sprint(prefetch), st.Prefetch)

	ms := many("a", 3)
	s.publish(ms...)
	s.handled(ms...)
	number := func() uint64 { return s.ask(handover.Hello).Status.Number }
	s.check("live.number", s.poll(s.cfg.Patience, func() bool { return number() == 3 }), "number 3 after 3 messages", number())
	s.refusals()

	s.tellRaw([]byte(`{"version":`))
	s.tellRaw([]byte(`[]`))
	s.check("live.garbage", s.ask(handover.Hello).Status.State == handover.Live, "Live", "not")
	more := many("b", 3)
	s.publish(more...)
	s.handled(more...)
	said := s.said()
	s.check("live.service", said[len(said)-1].Count == s.model.count && said[len(said)-1].Chain == s.model.chain, fmt.Sprintf("%+v", s.model), said[len(said)-1])
	s.check("live.refusals-act-not", s.ask(handover.Hello).Status.State == handover.Live, "Live", "not")
}

// refusals are commands that an instance that is Live must refuse.
func (s *stage) refusals() {
	for _, r := range []struct {
		clause string
		kind   handover.CommandKind
		change option
		reason handover.Reason
	}{
		{"live.version", handover.Prepare, func(c *handover.Command) { c.Version = 2 }, handover.ReasonVersion},
		{"live.version", handover.Hello, func(c *handover.Command) { c.Version = 2 }, handover.ReasonVersion},
		{"live.foreign", handover.Prepare, func(c *handover.Command) { c.PodUID = "pod-x-" + s.id }, handover.ReasonForeign},
		{"live.unbounded", handover.Prepare, func(c *handover.Command) { c.DeadlineMillis = 0 }, handover.ReasonUnbounded},
		{"live.unbounded", handover.Prepare, func(c *handover.Command) { c.LeaseMillis = 0 }, handover.ReasonUnbounded},
		{"live.wrong-state", handover.Resume, nil, handover.ReasonWrongState},
		{"live.wrong-state", handover.Freeze, nil, handover.ReasonWrongState},
		{"live.wrong-state", handover.StartReplay, nil, handover.ReasonWrongState},
		{"live.wrong-state", handover.TakeOver, nil, handover.ReasonWrongState},
	} {
		change := r.change
		if change == nil {
			change = func(*handover.Command) {}
		}
		s.refused(r.clause, s.ask(r.kind, change), r.kind, r.reason)
	}
	// A migration that was given up before its PREPARE came: the PREPARE may be late.
	s.ask(handover.Abort, ofMigration("given-up-"+s.id))
	s.refused("live.given-up", s.ask(handover.Prepare, ofMigration("given-up-"+s.id)), handover.Prepare, handover.ReasonStale)
}

func (s *stage) refused(clause string, h heard, kind handover.CommandKind, reason handover.Reason) {
	s.check(clause, h.Kind == handover.ReportRefused && h.Answers == kind && h.Reason == reason, fmt.Sprintf("REFUSED %s, answering %s", reason, kind), string(h.raw))
}

// held: a process that starts under a hold. Rows of a table; see scenarios.
type held struct {
	env      bool // in the target pod: MS2M_MIGRATION is set, the hold is the migration's
	slot     string
	decision handover.Decision // stands at the start, or comes later
	later    bool
	timeout  bool // nobody decides: it writes ABORT itself
	want     handover.State
}

func (h held) play(s *stage) {
	key := map[string]string{"pod": s.pod, "name": handover.PodSlot("conformance", s.podName), "queue": handover.QueueSlot(s.queue), "": s.migration}[h.slot]
	hold := handover.Hold{Version: handover.Version, Migration: s.migration, SourcePod: "source-" + s.id, DeadlineMillis: 60_000}
	if h.timeout {
		hold.DeadlineMillis = 3000
	}
	s.hold(key, hold)
	ms := many("m", 3)
	s.publish(ms...)
	if !h.later && !h.timeout {
		s.decide(h.decision)
	}
	began := time.Now()
	var env []string
	if h.env {
		env = append(env, handover.EnvMigration+"="+s.migration)
	}
	s.start(env...)
	clause := s.results[0].ID
	if h.later || h.timeout {
		got, ok := s.reach(s.cfg.Patience, handover.Held)
		s.need(clause, ok, "Held", string(got.raw))
	}
	if h.later {
		s.quiet(500 * time.Millisecond)
		s.check(clause, first(s.proxy.Frames(0), s.consumesPrimary) < 0, "nothing is taken from the queue while Held", "basic.consume")
		s.decide(h.decision)
		s.tell(handover.Abort) // a hint
	}
	got, ok := s.reach(s.cfg.Patience, h.want)
	s.need(clause, ok, string(h.want), string(got.raw))
	if h.timeout {
		d := s.decided()
		s.check(clause, d == handover.Aborted && time.Since(began) > 2*time.Second, "ABORT, written at the hold's deadline (3 s) and not before", fmt.Sprintf("%q after %v", d, time.Since(began)))
	}
	if h.want == handover.Live {
		s.handled(ms...)
		return
	}
	s.quiet(500 * time.Millisecond)
	s.check(clause, first(s.proxy.Frames(0), s.consumesPrimary) < 0 && len(s.said()) == 0, "nothing is taken from the queue", fmt.Sprintf("%d outputs", len(s.said())))
}

// inspect looks at the primary queue.
func (s *stage) inspect() amqp.Queue {
	ch, err := s.conn.Channel()
	s.must(err)
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(s.queue, true, false, false, false, nil)
	s.must(err)
	return q
}
