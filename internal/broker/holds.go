package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// inHand is how long somebody may have the record of a hold in hand, who reads
// it and gives it back.
const inHand = 500 * time.Millisecond

// SetHold writes the hold record under a key, unless it stands already. Who
// was first is known only when it is read back.
func (c *Client) SetHold(ctx context.Context, key string, h handover.Hold) error {
	return c.connection(func(conn *amqp.Connection) error {
		if err := rabbitmq.SetHold(ctx, conn, key, h); err != nil {
			return err
		}
		found, err := rabbitmq.ReadHold(ctx, conn, key)
		if err == nil && found != nil && found.Migration != h.Migration {
			return fmt.Errorf("%q is %w (%s)", key, ErrHeldByOther, found.Migration)
		}
		return err
	})
}

// RemoveHold removes the hold of a migration from a key. That of another
// migration, which has the same slot now, stays.
func (c *Client) RemoveHold(ctx context.Context, key, migration string) error {
	return c.connection(func(conn *amqp.Connection) error {
		if key == migration {
			return rabbitmq.ClearHold(conn, key)
		}
		reading, cancel := context.WithTimeout(ctx, inHand)
		defer cancel()
		switch found, err := rabbitmq.ReadHold(reading, conn, key); {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			// Nobody has a record in hand that long: a manager made the queue,
			// and did not come to write one.
			return rabbitmq.ClearHold(conn, key)
		case err != nil:
			return err
		case found == nil || found.Migration != migration:
			return nil
		}
		return rabbitmq.ClearHold(conn, key)
	})
}
