package broker

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Queue is what the broker tells about a queue.
type Queue struct {
	Messages, Consumers int
}

// Look looks at a queue without making it; nil: there is none.
func (c *Client) Look(_ context.Context, name string) (*Queue, error) {
	var found *Queue
	err := c.channel(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(name, false, false, false, false, nil)
		if err == nil {
			found = &Queue{Messages: q.Messages, Consumers: q.Consumers}
		}
		return err
	})
	switch {
	case refusedWith(err, amqp.NotFound):
		return nil, nil
	case refusedWith(err, amqp.ResourceLocked): // exclusive to another connection
		return &Queue{Consumers: 1}, nil
	}
	return found, err
}

// CreateReplayQueue makes the replay queue, or finds the one it has made.
func (c *Client) CreateReplayQueue(_ context.Context, name string) error {
	err := c.channel(func(ch *amqp.Channel) error {
		// A stream can be read from its beginning any number of times, without
		// limit (docs/decisions/0002).
		_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeStream})
		return err
	})
	if refusedWith(err, amqp.PreconditionFailed) || refusedWith(err, amqp.ResourceLocked) {
		return fmt.Errorf("the queue %q %w", name, ErrMismatch)
	}
	return err
}

// DeleteQueue deletes a queue with what is in it; one that is not there is fine.
func (c *Client) DeleteQueue(_ context.Context, name string) error {
	err := c.channel(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(name, false, false, false)
		return err
	})
	if refusedWith(err, amqp.NotFound) {
		return nil
	}
	return err
}
