package load

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// noDeliveryLimit, since the default of 20 counts lost connections, too, and
// would drop messages that never failed. It is also the harder test: RabbitMQ puts
// what a cancelled consumer had not received yet at the tail of such a queue.
const noDeliveryLimit = -1

// DeclareQueues makes durable queues: quorum queues, or classic ones.
func DeclareQueues(url string, quorum bool, names ...string) error {
	args := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic}
	if quorum {
		args = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": noDeliveryLimit}
	}
	return onChannel(url, func(ch *amqp.Channel) error {
		for _, name := range names {
			if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
				return fmt.Errorf("declare queue %s: %w", name, err)
			}
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
