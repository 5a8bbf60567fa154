package conformance

import (
	"bytes"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// begin starts a process and lets it handle a few messages.
func (s *stage) begin() {
	s.start()
	s.stand(handover.Live)
	s.readReplay()
	ms := many("before", 3)
	s.publish(ms...)
	s.handled(ms...)
}

// relaying brings the process to Relaying.
func (s *stage) relaying() {
	s.begin()
	s.ask(handover.Prepare)
	s.ask(handover.Resume)
	s.stand(handover.Relaying)
}

// delivered waits until the process has a message in hand, and its handler has
// had time to begin.
func (s *stage) delivered(id string) {
	ok := s.wait(s.cfg.Patience, func() (bool, <-chan struct{}) {
		frames, more := s.proxy.watch(0)
		return first(frames, func(f Frame) bool { return f.Method == BasicDeliver && f.MessageID == id }) >= 0, more
	})
	if !ok {
		s.stop("message %s is not taken", id)
	}
	s.quiet(150 * time.Millisecond)
}

// settled reports how a message was settled on the primary queue, by its last
// delivery: "ack", "reject", "requeue", or "" if it was not.
func (s *stage) settled(id string) string {
	frames := s.proxy.Frames(0)
	for i := len(frames) - 1; i >= 0; i-- {
		d := frames[i]
		if d.Method != BasicDeliver || d.MessageID != id || d.Key == s.replay {
			continue
		}
		for _, f := range frames[i:] {
			if !f.ToBroker || f.Conn != d.Conn || f.Channel != d.Channel || f.Tag != d.Tag && (!f.Multiple || f.Tag < d.Tag) {
				continue
			}
			switch {
			case f.Method == BasicAck:
				return "ack"
			case (f.Method == BasicReject || f.Method == BasicNack) && f.Requeue:
				return "requeue"
			case f.Method == BasicReject || f.Method == BasicNack:
				return "reject"
			}
		}
		return ""
	}
	return ""
}

// prepare: the safe point, and the way back from it.
func prepare(s *stage) {
	s.begin()
	busy := append([]message{{id: "busy", words: "sleep=600"}}, many("queued", 6)...)
	s.publish(busy...)
	s.delivered("busy")
	began := time.Now()
	h := s.ask(handover.Prepare)
	s.need("prepare.prepared", h.Kind == handover.ReportPrepared && h.Answers == handover.Prepare && h.Status.State == handover.Paused && h.Status.Attempt == 1 && h.Status.Migration == s.migration, "PREPARED, state Paused, attempt 1", string(h.raw))
	n := int(h.Status.Number) // 4, unless this machine is so slow that more were handled before PREPARE
	s.check("prepare.drains", n >= 4 && len(s.said()) == n && s.settled("busy") == "ack", "PREPARED with number 4 (or more), when the handler that was running has ended, that many outputs are out, and its message is acknowledged", fmt.Sprintf("number %d, %d outputs, message %q", n, len(s.said()), s.settled("busy")))
	s.quiet(500 * time.Millisecond)
	s.check("prepare.paused", len(s.said()) == n && len(s.relayed()) == 0, "nothing is handled while Paused", describe(len(s.said())-n, "more outputs"))
	again := s.ask(handover.Prepare)
	s.check("prepare.again", again.Kind == handover.ReportPrepared && again.Status.State == handover.Paused && int(again.Status.Number) == n, fmt.Sprintf("PREPARED again, number %d", n), string(again.raw))
	s.refused("prepare.stale", s.ask(handover.Resume, epoch(0)), handover.Resume, handover.ReasonStale)
	s.refused("prepare.stale", s.ask(handover.Resume, attempt(0)), handover.Resume, handover.ReasonStale)
	s.refused("prepare.foreign", s.ask(handover.Prepare, ofMigration("other-"+s.id)), handover.Prepare, handover.ReasonForeign)
	s.check("prepare.paused", s.ask(handover.Hello).Status.State == handover.Paused, "Paused after the refusals", "not")

	s.epoch = 2 // another manager has taken over
	since := s.now()
	r := s.ask(handover.Resume)
	pause := time.Since(began)
	s.need("prepare.resume", r.Kind == handover.ReportRelaying && r.Answers == handover.Resume && r.Status.State == handover.Relaying, "RELAYING, answering RESUME (of a higher epoch)", string(r.raw))
	s.check("prepare.pause", r.Status.PauseMillis >= 500 && r.Status.PauseMillis <= pause.Milliseconds()+50, fmt.Sprintf("pauseMillis from PREPARE to RESUME, 500 to %d", pause.Milliseconds()), r.Status.PauseMillis)
	s.check("prepare.again", s.ask(handover.Resume).Kind == handover.ReportRelaying, "RELAYING again, for a repeated RESUME", "not")
	s.refused("prepare.stale", s.ask(handover.Freeze, epoch(1)), handover.Freeze, handover.ReasonStale)
	s.handled(busy...)
	for i, m := range busy[n-3:] {
		e, ok := s.entryOf(m.id)
		s.check("prepare.relays", ok && e.Number == uint64(n+1+i), fmt.Sprintf("message %s relayed as number %d: what is handled after the safe point", m.id, n+1+i), e.EntryHeader)
	}
	if n == 10 {
		s.stop("this machine is too slow: all messages were handled before PREPARE came")
	}
	_, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportProgress && h.Status.Confirmed == 10 })
	s.check("prepare.progress", ok, "PROGRESS every 50 ms, unasked, that comes to confirmed 10", "none")

	s.tell(handover.Abort)
	s.tell(handover.Retire)
	s.quiet(300 * time.Millisecond)
	s.check("prepare.hints", s.ask(handover.Hello).Status.State == handover.Relaying && s.decided() == handover.Undecided, "Relaying, and undecided", s.ask(handover.Hello).Status.State)
	s.nextAttempts()
}

// nextAttempts: PREPARE from Relaying, and deadlines.
func (s *stage) nextAttempts() {
	s.attempt = 2
	h := s.ask(handover.Prepare, deadline(time.Second))
	prepared := time.Now()
	s.need("prepare.next", h.Kind == handover.ReportPrepared && h.Status.Attempt == 2, "PREPARED of attempt 2", string(h.raw))
	s.refused("prepare.stale", s.ask(handover.Resume, attempt(1)), handover.Resume, handover.ReasonStale)
	since := s.now()
	r, ok := s.hear(since, 5*time.Second, func(h heard) bool { return h.Kind == handover.ReportRelaying })
	took := r.at.Sub(prepared)
	s.check("prepare.auto-resume", ok && r.Answers == "" && took > 700*time.Millisecond && took < 3*time.Second, "RELAYING, unasked, about a second after PREPARE with a deadline of a second", fmt.Sprintf("%s after %v", r.raw, took))

	s.attempt = 3
	slow := message{id: "slow", words: "sleep=1500"}
	s.publish(slow)
	s.delivered("slow")
	s.refused("prepare.drain-deadline", s.ask(handover.Prepare, deadline(300*time.Millisecond)), handover.Prepare, handover.ReasonDrainDeadline)
	s.check("prepare.drain-deadline", s.ask(handover.Hello).Status.State == handover.Relaying, "Relaying again", "not")
	s.handled(slow)
	e, ok := s.entryOf("slow")
	s.check("prepare.drain-deadline", ok && e.Number == 11, "the message relayed as number 11", e.EntryHeader)
}

// relay: what the source writes.
func relayed(s *stage) {
	s.relaying()
	table := amqp.Table{
		"conformance": "once=dice", "bool": true, "i8": int8(-8), "u8": uint8(200), "i16": int16(-1600), "i32": int32(-320000), "i64": int64(1 << 60),
		"f32": float32(1.5), "f64": 2.25, "text": "ä", "bytes": []byte{0, 255}, "decimal": amqp.Decimal{Scale: 2, Value: 314}, "time": time.Unix(1700000000, 0),
		"none": nil, "table": amqp.Table{"in": int32(1)}, "list": []any{int32(1), "two"},
	}
	exchange := "conformance." + s.id
	s.must(s.ch.ExchangeDeclare(exchange, "fanout", false, true, false, false, nil))
	s.must(s.ch.QueueBind(s.queue, "", exchange, false, nil))
	full := message{id: "full", body: []byte("body\x00\xff"), to: exchange, with: func(p *amqp.Publishing) {
		p.ContentType, p.ContentEncoding, p.Priority, p.CorrelationId, p.ReplyTo, p.Expiration = "text/x", "identity", 3, "cor", "rep", "600000"
		p.Timestamp, p.Type, p.AppId, p.Headers = time.Unix(1700000001, 0), "a type", "an app", table
	}}
	s.publish(full)
	s.handled(full)
	e, ok := s.entryOf("full")
	s.need("relay.entry", ok, "an entry of identity full", "none")
	s.check("relay.entry", e.Number == 4 && e.Outcome == handover.Done && e.Exchange == exchange && e.RoutingKey == s.queue && bytes.Equal(e.body, full.body), fmt.Sprintf("number 4, done, exchange %s, routing key %s, the body as it was", exchange, s.queue), fmt.Sprintf("%+v, body %q", e.EntryHeader, e.body))
	p := e.Properties
	s.check("relay.properties", p.ContentType == "text/x" && p.ContentEncoding == "identity" && p.DeliveryMode == 2 && p.Priority == 3 && p.CorrelationID == "cor" && p.ReplyTo == "rep" &&
		p.Expiration == "600000" && p.MessageID == "full" && p.Timestamp != nil && p.Timestamp.Unix() == 1700000001 && p.Type == "a type" && p.AppID == "an app", "every property of the original", fmt.Sprintf("%+v", p))
	s.checkTable(p.Headers)
	once := s.said()[len(s.said())-1].Once
	s.check("relay.records", len(e.Records) == 1 && e.Records[0].Name == "dice" && string(e.Records[0].Value) == once && once != "", fmt.Sprintf("one record, dice: %q", once), fmt.Sprintf("%+v", e.Records))
	at := first(s.proxy.Frames(0), toBroker(BasicPublish, func(f Frame) bool { return f.Key == s.replay && f.Exchange == "" }))
	f := s.proxy.Frames(0)[max(at, 0)]
	s.check("relay.publishing", at >= 0 && f.Mandatory && f.Persistent && f.Type == handover.TypeEntry, "to the default exchange, mandatory, persistent, type ms2m.entry", fmt.Sprintf("mandatory %v, persistent %v, type %q", f.Mandatory, f.Persistent, f.Type))

	s.publish(message{id: "bad", words: "reject"}, message{id: "twice", words: "requeue"})
	for _, w := range []struct {
		id      string
		outcome handover.Outcome
		number  uint64
		settled string
	}{{"bad", handover.Rejected, 5, "reject"}, {"twice", handover.Requeued, 6, "ack"}} {
		e, ok := s.entryOf(w.id)
		s.check("relay.outcomes", ok && e.Outcome == w.outcome && e.Number == w.number, fmt.Sprintf("%s relayed as number %d, %s", w.id, w.number, w.outcome), e.EntryHeader)
		s.check("relay.outcomes", s.poll(s.cfg.Patience, func() bool { return s.settled(w.id) == w.settled }), w.id+": "+w.settled, s.settled(w.id))
	}
	s.handled(message{id: "twice"})
	ok = s.poll(s.cfg.Patience, func() bool { return len(s.relayed()) >= 4 })
	all := s.relayed()
	s.check("relay.outcomes", ok && all[3].Identity == "twice" && all[3].Outcome == handover.Done && all[3].Number == 7, "a message given back and delivered again is a new number, done", fmt.Sprintf("%+v", all[len(all)-1].EntryHeader))
	s.bigMessage()
}

// bigMessage relays more than a message of the broker may hold.
func (s *stage) bigMessage() {
	big := message{id: "big", body: bytes.Repeat([]byte("0123456789abcdef"), (handover.MaxPartBytes+handover.MaxPartBytes/8)/16)}
	s.publish(big)
	s.handled(big)
	e, ok := s.entryOf("big")
	s.need("relay.parts", ok && e.Number == 8 && bytes.Equal(e.body, big.body), "an entry in parts that give the body of 9 MiB again", "none, or another body")
	for i, p := range e.parts {
		h, payload, err := handover.DecodeEntry(p.Body)
		s.must(err)
		s.check("relay.parts", len(e.parts) == 2 && len(payload) <= handover.MaxPartBytes && h.Part == i && h.Parts == 2 && h.Number == 8, "two parts of at most 8 MiB, part 0 and 1 of 2, number 8", fmt.Sprintf("part %d of %d, %d bytes, number %d, %d parts in all", h.Part, h.Parts, len(payload), h.Number, len(e.parts)))
	}
	s.check("relay.parts", s.poll(s.cfg.Patience, func() bool { return s.settled("big") == "ack" }), "acknowledged", s.settled("big"))
}

func (s *stage) checkTable(got handover.Table) {
	want := handover.Table{
		"conformance": "once=dice", "bool": true, "i8": int8(-8), "i16": int16(-1600), "i32": int32(-320000), "i64": int64(1 << 60), "u8": uint8(200),
		"f32": float32(1.5), "f64": 2.25, "text": "ä", "bytes": []byte{0, 255}, "decimal": handover.Decimal{Scale: 2, Value: 314}, "time": time.Unix(1700000000, 0).UTC(),
		"none": nil, "table": handover.Table{"in": int32(1)}, "list": []any{int32(1), "two"},
	}
	for k, v := range want {
		g, ok := got[k]
		s.check("relay.headers", ok && fmt.Sprintf("%T %v", g, g) == fmt.Sprintf("%T %v", v, v), fmt.Sprintf("%s: %T %v", k, v, v), fmt.Sprintf("%T %v (there: %v)", g, g, ok))
	}
}

func describe(n int, what string) string { return fmt.Sprintf("%d %s", n, what) }
