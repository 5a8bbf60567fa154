// Package rabbitmq keeps the marks of the hand-over protocol at RabbitMQ: the
// decision of a migration and the holds. Both sides of the protocol use it.
package rabbitmq

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// Decide tries to write the decision of a migration and returns the one that
// stands: the given one, or the other if that was there first. It may be
// repeated. RabbitMQ refuses (406) to declare an exchange that exists with
// another type, which makes the declaration a register that is written once.
func Decide(conn *amqp.Connection, migration string, d handover.Decision) (handover.Decision, error) {
	ch, err := conn.Channel()
	if err != nil {
		return handover.Undecided, fmt.Errorf("write decision %s of migration %s: %w", d, migration, err)
	}
	stands, err := DecideOn(ch, migration, d)
	_ = ch.Close() // closed by the broker already if it refused
	return stands, err
}

// DecideOn is Decide on a channel that is there: the broker closes it if the other decision
// stands, or anything is wrong.
func DecideOn(ch *amqp.Channel, migration string, d handover.Decision) (handover.Decision, error) {
	kind, other := handover.CommitExchangeType, handover.Aborted
	if d == handover.Aborted {
		kind, other = handover.AbortExchangeType, handover.Commit
	}
	err := ch.ExchangeDeclare(handover.DecisionExchange(migration), kind, true, false, false, false, nil)
	switch {
	case err == nil:
		return d, nil
	case isCode(err, amqp.PreconditionFailed):
		return other, nil
	}
	return handover.Undecided, fmt.Errorf("write decision %s of migration %s: %w", d, migration, err)
}

// ReadDecision returns the decision that stands, without taking it.
func ReadDecision(conn *amqp.Connection, migration string) (handover.Decision, error) {
	err := onChannel(conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(handover.DecisionExchange(migration), handover.CommitExchangeType, true, false, false, false, nil)
	})
	switch {
	case err == nil || isCode(err, amqp.PreconditionFailed):
		// It exists and is only removed when nobody asks any more, so that
		// declaring it tells its type and cannot make it.
		return Decide(conn, migration, handover.Commit)
	case isCode(err, amqp.NotFound):
		return handover.Undecided, nil
	}
	return handover.Undecided, fmt.Errorf("read decision of migration %s: %w", migration, err)
}

// ForgetDecision removes the mark. It is the last thing that a migration does.
func ForgetDecision(conn *amqp.Connection, migration string) error {
	err := onChannel(conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDelete(handover.DecisionExchange(migration), false, false)
	})
	if err != nil && !isCode(err, amqp.NotFound) {
		return fmt.Errorf("remove decision of migration %s: %w", migration, err)
	}
	return nil
}

// onChannel runs f on a channel of its own: a refused declaration closes the
// channel it was made on.
func onChannel(conn *amqp.Connection, f func(*amqp.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := f(ch); err != nil {
		_ = ch.Close() // closed by the broker already if it refused
		return err
	}
	return ch.Close()
}

func isCode(err error, code int) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == code
}
