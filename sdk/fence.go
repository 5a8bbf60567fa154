package sdk

import (
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// fenceEvery is how often a control queue is asked for that another connection
// still has: the broker tells nobody when it goes.
const fenceEvery = 100 * time.Millisecond

// fence is the control queue of another pod, taken so that no process of that
// pod can come back: it opens that queue before it takes messages, and it is
// exclusive. While the broker refuses, it still keeps that process's connection.
type fence struct {
	queue string
	stop  chan struct{}
}

// takeFence begins to take the control queue of a pod, in the background.
func (s *session) takeFence(pod string) error {
	s.fence = &fence{queue: handover.ControlQueue(pod), stop: make(chan struct{})}
	go s.holdFence(s.fence)
	return nil
}

func (s *session) holdFence(f *fence) {
	for {
		ch, err := s.conn.Channel()
		if err != nil {
			s.end(err)
			return
		}
		_, err = ch.QueueDeclare(f.queue, false, false, true, false, nil)
		var refusal *amqp.Error
		switch {
		case err == nil:
			s.post(handover.Fenced{})
			select {
			case <-s.done: // the broker removes it with the connection
			case <-f.stop:
				if _, err := ch.QueueDelete(f.queue, false, false, false); err != nil {
					s.end(fmt.Errorf("remove the fence %s: %w", f.queue, err))
				}
				_ = ch.Close()
			}
			return
		case errors.As(err, &refusal) && refusal.Code == amqp.ResourceLocked:
		default:
			s.end(fmt.Errorf("fence off %s: %w", f.queue, err))
			return
		}
		select {
		case <-s.done:
			return
		case <-f.stop:
			return
		case <-time.After(fenceEvery):
		}
	}
}

// dropFence ends it.
func (s *session) dropFence() error {
	if s.fence != nil {
		close(s.fence.stop)
		s.fence = nil
	}
	return nil
}
