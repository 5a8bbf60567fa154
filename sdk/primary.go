package sdk

import (
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// RabbitMQ gives back what a channel held unacknowledged when the queue has
// noticed the channel's end, which may be after the client has: a queue with
// queues of its own for that (quorum) was seen to serve later messages first.
// It takes the channel's consumer off the queue in the same step. So the number
// of consumers is the witness: when it has fallen, what was held is back.
const (
	witnessEvery = 5 * time.Millisecond
	// witnessBound bounds the wait. It runs out if another consumer has come
	// meanwhile; with several on one queue there is no order to be kept.
	witnessBound = 2 * time.Second
)

// openPrimary opens the channel of deliveries.
func (s *session) openPrimary() error {
	ch, err := s.conn.Channel()
	if err != nil {
		return err
	}
	s.primary = ch
	return ch.Qos(s.cfg.Prefetch, 0, false)
}

// consume begins to take from the queue, after an earlier consumer of this
// state (on a connection that was lost, or in the source) is off it.
func (s *session) consume(others *atomic.Int64) error {
	if known := others.Load(); known >= 0 {
		if err := s.awaitConsumers(int(known)); err != nil {
			return err
		}
	} else {
		// Before consuming, for the connection may be lost before the broker's answer: it
		// has a consumer of ours then.
		n, err := s.consumers()
		if err != nil {
			return err
		}
		others.Store(int64(n))
	}
	ds, err := s.primary.Consume(s.cfg.Queue, consumerTag, false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume %s: %w", s.cfg.Queue, err)
	}
	n, err := s.consumers()
	if err != nil {
		return err
	}
	others.Store(int64(max(0, n-1)))
	s.mu.Lock()
	s.released = false
	s.mu.Unlock()
	s.forwarded = make(chan struct{})
	go s.forward(ds, s.forwarded)
	return nil
}

func (s *session) forward(ds <-chan amqp.Delivery, done chan<- struct{}) {
	defer close(done)
	for d := range ds {
		m := fromDelivery(d, s.cfg.IdentityHeader)
		s.post(handover.Delivered{Tag: d.DeliveryTag, Identity: m.identity, Key: s.cfg.keyOf(m), Payload: m})
	}
	s.mu.Lock()
	released := s.released
	s.mu.Unlock()
	if !released {
		s.end(fmt.Errorf("the broker ended the consumer of %s", s.cfg.Queue))
	}
}

// release gives back what was not begun, by closing the channel. Cancelling the
// consumer would not: what is on its way at that moment arrives after the
// broker's answer, is dropped by the client, and stays with the channel.
func (s *session) release(others *atomic.Int64) error {
	before, err := s.consumers()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.released = true
	s.mu.Unlock()
	if err := s.primary.Close(); err != nil {
		return fmt.Errorf("close the channel of deliveries: %w", err)
	}
	<-s.forwarded
	if err := s.awaitConsumers(before - 1); err != nil {
		return err
	}
	others.Store(int64(max(0, before-1)))
	if err := s.openPrimary(); err != nil {
		return err
	}
	s.watchChannel(s.primary)
	s.post(handover.Released{})
	return nil
}

// awaitConsumers waits until the queue has no more consumers than these.
func (s *session) awaitConsumers(most int) error {
	bound := time.NewTimer(witnessBound)
	defer bound.Stop()
	for {
		n, err := s.consumers()
		if err != nil || n <= most {
			return err
		}
		select {
		case <-s.done:
			return amqp.ErrClosed
		case <-bound.C:
			return nil
		case <-time.After(witnessEvery):
		}
	}
}

// consumers is how many consumers the queue has.
func (s *session) consumers() (int, error) {
	q, err := s.control.QueueDeclarePassive(s.cfg.Queue, true, false, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", s.cfg.Queue, err)
	}
	return q.Consumers, nil
}
