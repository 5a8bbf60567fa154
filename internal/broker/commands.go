package broker

import (
	"context"
	"encoding/json"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// replyHere stands for the report queue of the link that publishes.
const replyHere = "reply-here"

// Send sends a command to the instance in the command's pod. ErrNoInstance
// means that none is there, or that it is just connecting again.
func (c *Client) Send(ctx context.Context, cmd handover.Command, correlation string) error {
	body, err := json.Marshal(cmd)
	if err != nil {
		return err
	}
	routed, err := c.publish(ctx, handover.ControlQueue(cmd.PodUID), amqp.Publishing{
		Type: handover.TypeCommand, ContentType: "application/json",
		ReplyTo: replyHere, CorrelationId: correlation, Body: body,
	})
	if err == nil && !routed {
		err = ErrNoInstance
	}
	return err
}
