package conformance

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

// order: what is confirmed before what, seen by holding confirms back.
func order(s *stage) {
	s.relaying()
	confirms := func(f Frame) Verdict {
		if !f.ToBroker && f.Method == BasicAck {
			return Hold
		}
		return Pass
	}
	s.proxy.Judge(confirms)
	s.publish(message{id: "one"})
	if _, ok := s.outputOf("one"); !ok {
		s.stop("no output of message one")
	}
	s.quiet(400 * time.Millisecond)
	entries := 0
	for _, f := range s.proxy.Frames(0) {
		if f.ToBroker && f.Method == BasicPublish && f.Key == s.replay {
			entries++
		}
	}
	s.check("order.output-first", entries == 0 && s.settled("one") == "", "no entry and no acknowledgement before the output is confirmed", fmt.Sprintf("%d entries, %q", entries, s.settled("one")))
	s.proxy.Release()
	_, ok := s.entryOf("one")
	s.check("order.output-first", ok, "the entry when the output is confirmed", "none")

	written := false
	s.proxy.Judge(func(f Frame) Verdict {
		written = written || f.ToBroker && f.Method == BasicPublish && f.Key == s.replay
		if written {
			return confirms(f)
		}
		return Pass
	})
	s.publish(message{id: "two"}, message{id: "three"})
	_, ok = s.entryOf("two")
	s.need("order.entry-first", ok, "the entry of message two", "none")
	s.quiet(400 * time.Millisecond)
	s.check("order.entry-first", s.settled("two") == "", "no acknowledgement before the entry is confirmed", s.settled("two"))
	s.proxy.Release()
	s.check("order.entry-first", s.poll(s.cfg.Patience, func() bool { return s.settled("two") == "ack" && s.settled("three") == "ack" }), "acknowledged when the entry is confirmed", s.settled("two"))
	ms := many("more", 20)
	s.publish(ms...)
	for i, m := range ms {
		e, ok := s.entryOf(m.id)
		s.check("order.numbers", ok && e.Number == uint64(7+i), fmt.Sprintf("%s relayed as number %d: numbers without gaps, in the queue's order", m.id, 7+i), e.EntryHeader)
	}
}

// network: connections that are lost at the worst moments.
func network(s *stage) {
	s.relaying()
	cutAt := func(at func(Frame) bool) {
		cut := false
		s.proxy.Judge(func(f Frame) Verdict {
			if !cut && at(f) {
				cut = true
				return Cut
			}
			return Pass
		})
	}
	// The entry is confirmed, the acknowledgement is lost.
	cutAt(func(f Frame) bool { return f.ToBroker && f.Method == BasicAck && !s.entryless(f) })
	s.publish(message{id: "one"})
	s.once("network.redelivered", message{id: "one"}, 4)
	s.proxy.Judge(nil)

	// The entry is written, its confirm is lost.
	written := false
	cutAt(func(f Frame) bool {
		written = written || f.ToBroker && f.Method == BasicPublish && f.Key == s.replay
		return written && !f.ToBroker && f.Method == BasicAck
	})
	s.publish(message{id: "two"})
	s.once("network.unconfirmed", message{id: "two"}, 5)
	s.proxy.Judge(nil)

	// The output is on its way, the connection is lost before its confirm.
	cutAt(func(f Frame) bool { return !f.ToBroker && f.Method == BasicAck })
	s.publish(message{id: "three"})
	s.onceHandled("network.output", message{id: "three"}, 6)
	s.proxy.Judge(nil)

	frames := s.proxy.Frames(0)
	last := frames[len(frames)-1].Conn
	var mine []Frame
	for _, f := range frames {
		if f.Conn == last {
			mine = append(mine, f)
		}
	}
	control := first(mine, toBroker(QueueDeclare, func(f Frame) bool { return f.Queue == handover.ControlQueue(s.pod) }))
	decision := first(mine, toBroker(ExchangeDeclare, func(f Frame) bool {
		return f.Passive && f.Exchange == handover.DecisionExchange(s.migration)
	}))
	takes := first(mine, s.consumesPrimary)
	s.check("network.looks", control >= 0 && control < decision && decision < takes, "after connecting: the control queue, then the decision, then the primary queue", fmt.Sprintf("frames %d, %d, %d", control, decision, takes))
	for _, f := range frames {
		if f.ToBroker && f.Method == BasicQos && (f.Prefetch == 0 || f.Prefetch < 1000 && f.Prefetch != prefetch) {
			s.check("network.prefetch", false, fmt.Sprint(prefetch), f.Prefetch)
		}
		if f.ToBroker && (f.Method == BasicNack || f.Method == BasicReject) {
			s.check("network.no-nack", false, "nothing is given back: all were handled well", fmt.Sprintf("%+v", f))
		}
	}
	s.check("network.prefetch", true, "", "")
	s.check("network.no-nack", true, "", "")
	s.returned()
}

// entryless reports whether an acknowledgement to the broker is not of the
// primary queue. The lock of the proxy is held.
func (s *stage) entryless(f Frame) bool {
	for i := len(s.proxy.frames) - 1; i >= 0; i-- {
		d := s.proxy.frames[i]
		if d.Method == BasicDeliver && d.Conn == f.Conn && d.Channel == f.Channel && d.Tag == f.Tag {
			return d.Key != s.queue
		}
	}
	return true
}

// once: a message is applied once though its connection was lost.
func (s *stage) once(clause string, m message, number uint64) {
	s.onceHandled(clause, m, number)
	s.check(clause, s.outputsOf(m.id) == 1, "one output", s.outputsOf(m.id))
}

func (s *stage) onceHandled(clause string, m message, number uint64) {
	s.handled(m)
	ok := s.poll(2*s.cfg.Patience, func() bool { return s.settled(m.id) == "ack" && s.inspect().Messages == 0 })
	s.need(clause, ok, "acknowledged on the next connection", fmt.Sprintf("%q, %d messages in the queue", s.settled(m.id), s.inspect().Messages))
	for _, e := range s.relayed() {
		if e.Identity == m.id {
			s.check(clause, e.Number == number, fmt.Sprintf("all its entries have the number %d", number), e.Number)
		}
	}
	_, ok = s.entryOf(m.id)
	s.check(clause, ok, "an entry", "none")
	st := s.ask(handover.Hello).Status
	s.check(clause, st.Number == number, fmt.Sprintf("status.number %d: it is in the state once", number), st.Number)
}

// returned: the replay queue is gone for a moment.
func (s *stage) returned() {
	ch, err := s.conn.Channel()
	s.must(err)
	_, err = ch.QueueDelete(s.replay, false, false, false)
	s.must(err)
	before := s.proxy.Frames(0)
	m := message{id: "unroutable"}
	s.publish(m)
	s.handled(m)
	dropped := s.poll(s.cfg.Patience, func() bool {
		f := s.proxy.Frames(len(before))
		return len(f) > 0 && f[len(f)-1].Conn > before[len(before)-1].Conn
	})
	s.check("network.returned", dropped, "the connection dropped and made again when an entry is returned", "the same connection")
	s.check("network.returned", s.settled("unroutable") == "", "not acknowledged while it is not relayed", s.settled("unroutable"))
	s.makeReplayQueue()
	s.readReplay()
	e, ok := s.entryOf("unroutable")
	s.check("network.returned", ok && e.Number == 7, "relayed as number 7 when the queue is there again", e.EntryHeader)
	s.check("network.returned", s.poll(s.cfg.Patience, func() bool { return s.settled("unroutable") == "ack" }), "acknowledged then", s.settled("unroutable"))
	s.check("network.returned", s.outputsOf("unroutable") == 1, "one output", s.outputsOf("unroutable"))
}
