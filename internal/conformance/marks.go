package conformance

import (
	"context"
	"errors"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// decide writes a decision, which nobody else may have written before.
func (s *stage) decide(d handover.Decision) {
	got, err := rabbitmq.Decide(s.conn, s.migration, d)
	s.must(err)
	if got != d {
		s.stop("the implementation has written %s already", got)
	}
}

// decided is what stands.
func (s *stage) decided() handover.Decision {
	d, err := rabbitmq.ReadDecision(s.conn, s.migration)
	s.must(err)
	return d
}

// awaitDecision waits for one.
func (s *stage) awaitDecision(patience time.Duration) handover.Decision {
	s.poll(patience, func() bool { return s.decided() != handover.Undecided })
	return s.decided()
}

func (s *stage) hold(key string, h handover.Hold) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Patience)
	defer cancel()
	s.must(rabbitmq.SetHold(ctx, s.conn, key, h))
}

// write writes an entry to the replay queue, as a source does, and follows it
// in the model if its message is new and done.
func (s *stage) write(number uint64, m message, h handover.EntryHeader) {
	h.Kind, h.Number, h.Identity, h.RoutingKey = handover.EntryMessage, number, m.id, s.queue
	if h.Outcome == "" {
		h.Outcome = handover.Done
	}
	h.Properties.MessageID = m.id
	h.Properties.Headers = handover.Table{"conformance": m.words}
	s.entry(h, m.body)
}

// end writes END_REPLAY.
func (s *stage) end(h handover.EntryHeader) {
	h.Kind = handover.EntryEnd
	s.entry(h, nil)
}

func (s *stage) entry(h handover.EntryHeader, body []byte) {
	parts, err := handover.EncodeEntry(h, body)
	s.must(err)
	for _, p := range parts {
		s.send("", s.replay, amqp.Publishing{DeliveryMode: amqp.Persistent, Type: handover.TypeEntry, Body: p})
	}
}

// fence keeps the control queue of a pod, as a broker does that still has the
// connection of the process in it.
func (s *stage) fence(pod string) (letGo func()) {
	ch, err := s.conn.Channel()
	s.must(err)
	_, err = ch.QueueDeclare(handover.ControlQueue(pod), false, false, true, false, nil)
	s.must(err)
	return func() {
		_, err := ch.QueueDelete(handover.ControlQueue(pod), false, false, false)
		s.must(err)
		s.must(ch.Close())
	}
}

// locked reports whether another connection has the control queue of a pod.
func (s *stage) locked(pod string) bool {
	ch, err := s.conn.Channel()
	s.must(err)
	defer ch.Close()
	_, err = ch.QueueDeclarePassive(handover.ControlQueue(pod), false, false, false, false, nil)
	var refusal *amqp.Error
	return errors.As(err, &refusal) && refusal.Code == amqp.ResourceLocked
}
