package load

import (
	"context"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Kind is a kind of queue.
type Kind string

// The kinds. RabbitMQ drops a message of a quorum queue after 20 deliveries, lost
// connections included; a delivery limit of -1 takes that away, and is the harder
// test: what a cancelled consumer had not received yet goes to the tail of such a queue.
const (
	Classic         Kind = "classic"
	Quorum          Kind = "quorum"
	QuorumUnlimited Kind = "quorum-unlimited"
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{Classic, Quorum, QuorumUnlimited} }

// UnmarshalText implements encoding.TextUnmarshaler, for flags.
func (k *Kind) UnmarshalText(text []byte) error {
	*k = Kind(text)
	if !slices.Contains(Kinds(), *k) {
		return fmt.Errorf("%q is no kind of queue: %v", text, Kinds())
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k), nil }

func (k Kind) arguments() amqp.Table {
	switch k {
	case Quorum:
		return amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	case QuorumUnlimited:
		return amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": -1}
	}
	return amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic}
}

// DeclareQueues makes durable queues of a kind.
func DeclareQueues(url string, kind Kind, names ...string) error {
	args := kind.arguments()
	return onChannel(url, func(ch *amqp.Channel) error {
		for _, name := range names {
			if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
				return fmt.Errorf("declare queue %s: %w", name, err)
			}
		}
		return nil
	})
}

// DeclareExchange makes a durable exchange from which a queue gets everything.
func DeclareExchange(url, exchange, queue string) error {
	return onChannel(url, func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return fmt.Errorf("declare exchange %s: %w", exchange, err)
		}
		if err := ch.QueueBind(queue, "#", exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s to exchange %s: %w", queue, exchange, err)
		}
		return nil
	})
}

// DeleteExchange removes an exchange.
func DeleteExchange(url, exchange string) error {
	return onChannel(url, func(ch *amqp.Channel) error {
		if err := ch.ExchangeDelete(exchange, false, false); err != nil {
			return fmt.Errorf("delete exchange %s: %w", exchange, err)
		}
		return nil
	})
}

// DeleteQueues removes queues with what is in them.
func DeleteQueues(url string, names ...string) error {
	return onChannel(url, func(ch *amqp.Channel) error {
		for _, name := range names {
			if _, err := ch.QueueDelete(name, false, false, false); err != nil {
				return fmt.Errorf("delete queue %s: %w", name, err)
			}
		}
		return nil
	})
}

// Poison sends messages that no counter can count.
func Poison(ctx context.Context, url, queue string, n int) error {
	return onChannel(url, func(ch *amqp.Channel) error {
		for i := range n {
			m := amqp.Publishing{MessageId: fmt.Sprintf("poison-%d-x", i), DeliveryMode: amqp.Persistent, Body: []byte("?")}
			if err := ch.PublishWithContext(ctx, "", queue, true, false, m); err != nil {
				return fmt.Errorf("publish to %s: %w", queue, err)
			}
		}
		return nil
	})
}

func onChannel(url string, f func(*amqp.Channel) error) error {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return f(ch)
}
