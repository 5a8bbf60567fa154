package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// readRetry is how soon a hold is read again whose record somebody else has in
// hand at this moment.
const readRetry = 20 * time.Millisecond

// SetHold makes a hold under the key. It may be repeated: the queue takes one
// record and drops later ones.
func SetHold(ctx context.Context, conn *amqp.Connection, key string, h handover.Hold) error {
	h.Version = handover.Version
	body, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode hold %s: %w", key, err)
	}
	err = onChannel(conn, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		// One record, the first: reject-publish would nack a repeated SetHold, so
		// look first. Two managers writing the same record do no harm.
		q, err := ch.QueueDeclare(handover.HoldQueue(key), true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic})
		if err != nil {
			return err
		}
		if q.Messages > 0 {
			return nil
		}
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", q.Name, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, ContentType: "application/json", Type: handover.TypeHold, Body: body})
		if err != nil {
			return err
		}
		ok, err := c.WaitContext(ctx)
		if err == nil && !ok {
			err = errors.New("not confirmed by the broker")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set hold %s: %w", key, err)
	}
	return nil
}

// ReadHold returns the record of the hold under the key, or nil if there is none.
func ReadHold(ctx context.Context, conn *amqp.Connection, key string) (*handover.Hold, error) {
	for {
		h, busy, err := peek(conn, key)
		if err != nil {
			return nil, fmt.Errorf("read hold %s: %w", key, err)
		}
		if !busy {
			return h, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read hold %s: %w", key, context.Cause(ctx))
		case <-time.After(readRetry):
		}
	}
}

// peek reads the record and gives it back. It is busy if the queue is there
// and seems empty: somebody else is peeking, or the record is being written.
func peek(conn *amqp.Connection, key string) (h *handover.Hold, busy bool, err error) {
	name := handover.HoldQueue(key)
	err = onChannel(conn, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclarePassive(name, true, false, false, false, nil); err != nil {
			return err
		}
		d, ok, err := ch.Get(name, false)
		if err != nil {
			return err
		}
		if !ok {
			busy = true
			return nil
		}
		h = new(handover.Hold)
		return errors.Join(json.Unmarshal(d.Body, h), d.Nack(false, true))
	})
	if isCode(err, amqp.NotFound) {
		return nil, false, nil
	}
	return h, busy, err
}

// ClearHold removes the hold under the key.
func ClearHold(conn *amqp.Connection, key string) error {
	err := onChannel(conn, func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(handover.HoldQueue(key), false, false, false)
		return err
	})
	if err != nil && !isCode(err, amqp.NotFound) {
		return fmt.Errorf("remove hold %s: %w", key, err)
	}
	return nil
}
