package broker

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// ReadDecision reads what stands at the broker about a migration, without
// deciding anything.
func (c *Client) ReadDecision(_ context.Context, migration string) (d handover.Decision, err error) {
	err = c.connection(func(conn *amqp.Connection) error {
		d, err = rabbitmq.ReadDecision(conn, migration)
		return err
	})
	return d, err
}

// WriteAbort writes ABORT, unless COMMIT stands; it says which of them does.
func (c *Client) WriteAbort(_ context.Context, migration string) (d handover.Decision, err error) {
	err = c.connection(func(conn *amqp.Connection) error {
		d, err = rabbitmq.Decide(conn, migration, handover.Aborted)
		return err
	})
	return d, err
}

// RemoveDecision removes the decision. Nobody may need it any more.
func (c *Client) RemoveDecision(_ context.Context, migration string) error {
	return c.connection(func(conn *amqp.Connection) error {
		return rabbitmq.ForgetDecision(conn, migration)
	})
}
