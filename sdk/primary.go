package sdk

import (
	"fmt"
	"sync"
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

// others is how many consumers each queue had besides this process's, when that
// began to consume. It is part of the state, and travels in the image.
type others struct {
	mu sync.Mutex
	of map[string]int // a queue that is not in it has not been consumed
}

func (o *others) known(queue string) (int, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.of[queue]
	return n, ok
}

func (o *others) note(queue string, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		o.of = map[string]int{}
	}
	o.of[queue] = max(0, n)
}

func (o *others) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of = nil
}

// openPrimary opens the channel of deliveries. The bound is each consumer's, and
// so each queue's: a full queue does not keep another one waiting.
func (s *session) openPrimary() error {
	ch, err := s.conn.Channel()
	if err != nil {
		return err
	}
	s.primary = ch
	return ch.Qos(s.cfg.Prefetch, 0, false)
}

// consume begins to take from the queues, after an earlier consumer of this
// state (on a connection that was lost, or in the source) is off all of them:
// nobody takes from one while another still has something of the one before.
// It also finds out first that all are there.
func (s *session) consume(others *others) error {
	until := time.Now().Add(witnessBound)
	for _, queue := range s.cfg.Queues {
		if known, ok := others.known(queue); ok {
			if err := s.awaitConsumers(queue, known, until); err != nil {
				return err
			}
			continue
		}
		// Before consuming, for the connection may be lost before the broker's answer: it
		// has a consumer of ours then.
		n, err := s.consumers(queue)
		if err != nil {
			return err
		}
		others.note(queue, n)
	}
	if s.primary == nil {
		if err := s.openPrimary(); err != nil {
			return err
		}
		s.watchChannel(s.primary)
	}
	s.mu.Lock()
	s.released = false
	s.mu.Unlock()
	for i, queue := range s.cfg.Queues {
		ds, err := s.primary.Consume(queue, fmt.Sprint("ms2m-", i), false, false, false, false, nil)
		if err != nil {
			return fmt.Errorf("consume %s: %w", queue, err)
		}
		s.forwarding.Go(func() { s.forward(queue, ds) })
		n, err := s.consumers(queue)
		if err != nil {
			return err
		}
		others.note(queue, n-1)
	}
	return nil
}

func (s *session) forward(queue string, ds <-chan amqp.Delivery) {
	name := s.cfg.named(queue)
	for d := range ds {
		m := fromDelivery(d, queue, s.cfg.IdentityHeader)
		s.post(handover.Delivered{Tag: d.DeliveryTag, Queue: name, Identity: m.identity, Key: s.cfg.keyOf(m), Payload: m})
	}
	s.mu.Lock()
	released := s.released
	s.mu.Unlock()
	if !released {
		s.end(fmt.Errorf("the broker ended the consumer of %s", queue))
	}
}

// release gives back what was not begun, by closing the channel, which takes
// this process off every queue. Cancelling the consumers would not: what is on
// its way at that moment arrives after the broker's answer, is dropped by the
// client, and stays with the channel.
func (s *session) release(others *others) error {
	before := map[string]int{}
	for _, queue := range s.cfg.Queues {
		n, err := s.consumers(queue)
		if err != nil {
			return err
		}
		before[queue] = n
	}
	s.mu.Lock()
	s.released = true
	s.mu.Unlock()
	if err := s.primary.Close(); err != nil {
		return fmt.Errorf("close the channel of deliveries: %w", err)
	}
	s.forwarding.Wait()
	until := time.Now().Add(witnessBound)
	for _, queue := range s.cfg.Queues {
		if err := s.awaitConsumers(queue, before[queue]-1, until); err != nil {
			return err
		}
		others.note(queue, before[queue]-1)
	}
	s.primary = nil // opened again by whoever consumes again: END_REPLAY is not to wait for it
	s.post(handover.Released{})
	return nil
}

// awaitConsumers waits until the queue has no more consumers than these.
func (s *session) awaitConsumers(queue string, most int, until time.Time) error {
	for {
		n, err := s.consumers(queue)
		if err != nil || n <= most || !time.Now().Before(until) {
			return err
		}
		select {
		case <-s.done:
			return amqp.ErrClosed
		case <-time.After(witnessEvery):
		}
	}
}

// consumers is how many consumers a queue has.
func (s *session) consumers(queue string) (int, error) {
	q, err := s.control.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", queue, err)
	}
	return q.Consumers, nil
}
