package sdk

import (
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// Message is a message of the queue, as the producer sent it.
type Message struct {
	Queue      string // that it came from, one of those configured
	Exchange   string
	RoutingKey string
	Properties handover.Properties
	Body       []byte

	identity string
	replayed bool
	outputs  []Output
	records  []handover.Record
	used     int // records read back
	broken   error
}

// Output is a message that the service sends. It leaves when the handler has
// succeeded, is confirmed before the input is acknowledged, and is left out
// when the input is replayed, since the source has sent it.
type Output struct {
	Exchange   string // "" is the default exchange: RoutingKey names a queue
	RoutingKey string
	Properties handover.Properties // MessageID is set by the library
	Body       []byte
}

// Identity is what the message is known by: its message-id, or the header named
// in the configuration. Empty if it has none.
func (m *Message) Identity() string { return m.identity }

// Publish adds an output. Its message-id is made of the queue, the identity of
// this message and the output's place, so that a doubled one can be told.
func (m *Message) Publish(o Output) {
	if !m.replayed {
		m.outputs = append(m.outputs, o)
	}
}

// errReplay is the outcome of a handler that did not do again what it did first.
var errReplay = errors.New("the replay asked for another side effect than the source ran")

// Once runs f for its result: a call to another service, the clock, a random
// number. The result is recorded with the message, and a replay reads it
// instead of running f. The name tells what it is; a replay that asks for
// other names than the source did is not deterministic and is rolled back.
func (m *Message) Once(name string, f func() ([]byte, error)) ([]byte, error) {
	if m.replayed {
		if m.used >= len(m.records) || m.records[m.used].Name != name {
			m.broken = fmt.Errorf("%w: %q", errReplay, name)
			return nil, m.broken
		}
		r := m.records[m.used]
		m.used++
		if r.Error != "" {
			return r.Value, errors.New(r.Error)
		}
		return r.Value, nil
	}
	v, err := f()
	r := handover.Record{Name: name, Value: v}
	if err != nil {
		r.Error = err.Error()
	}
	m.records = append(m.records, r)
	return v, err
}

// Now is the time, as Once records it.
func (m *Message) Now() time.Time {
	b, err := m.Once("now", func() ([]byte, error) { return time.Now().MarshalBinary() })
	var t time.Time
	if err == nil {
		err = t.UnmarshalBinary(b)
	}
	if err != nil && m.broken == nil {
		m.broken = err
	}
	return t
}

// outcome is how the handling ended.
func (m *Message) outcome(err error) handover.Outcome {
	var r rejection
	switch {
	case m.broken != nil:
		return "" // matches no outcome of a source: the replay stops
	case err == nil:
		return handover.Done
	case errors.As(err, &r):
		return handover.Rejected
	}
	return handover.Requeued
}

func fromDelivery(d amqp.Delivery, queue, header string) *Message {
	m := &Message{
		Queue:      queue,
		Exchange:   d.Exchange,
		RoutingKey: d.RoutingKey,
		Body:       d.Body,
		Properties: handover.Properties{
			ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
			DeliveryMode: d.DeliveryMode, Priority: d.Priority,
			CorrelationID: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration,
			MessageID: d.MessageId, Type: d.Type, UserID: d.UserId, AppID: d.AppId,
			Headers: fromTable(d.Headers),
		},
		identity: identityOf(header, d.MessageId, d.Headers),
	}
	if !d.Timestamp.IsZero() {
		m.Properties.Timestamp = &d.Timestamp
	}
	return m
}

func fromEntry(h handover.EntryHeader, queue string, body []byte) *Message {
	return &Message{
		Queue: queue, Exchange: h.Exchange, RoutingKey: h.RoutingKey, Properties: h.Properties,
		Body: body, identity: h.Identity, replayed: true, records: h.Records,
	}
}

func (m *Message) entry(it *handover.Item) handover.EntryHeader {
	return handover.EntryHeader{
		Kind: handover.EntryMessage, Number: it.Number, Outcome: it.Outcome, Queue: it.Queue, Identity: it.Identity,
		Exchange: m.Exchange, RoutingKey: m.RoutingKey, Properties: m.Properties, Records: m.records,
	}
}

func (o Output) publishing(identity string) amqp.Publishing {
	p := o.Properties
	out := amqp.Publishing{
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding,
		DeliveryMode: p.DeliveryMode, Priority: p.Priority,
		CorrelationId: p.CorrelationID, ReplyTo: p.ReplyTo, Expiration: p.Expiration,
		MessageId: identity, Type: p.Type, UserId: p.UserID, AppId: p.AppID,
		Headers: toTable(p.Headers), Body: o.Body,
	}
	if out.DeliveryMode == 0 {
		out.DeliveryMode = amqp.Persistent
	}
	if p.Timestamp != nil {
		out.Timestamp = *p.Timestamp
	}
	return out
}

func fromTable(t amqp.Table) handover.Table {
	if t == nil {
		return nil
	}
	out := make(handover.Table, len(t))
	for k, v := range t {
		out[k] = fromField(v)
	}
	return out
}

func fromField(v any) any {
	switch v := v.(type) {
	case amqp.Table:
		return fromTable(v)
	case amqp.Decimal:
		return handover.Decimal{Scale: v.Scale, Value: v.Value}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fromField(v[i])
		}
		return out
	}
	return v
}

func toTable(t handover.Table) amqp.Table {
	if t == nil {
		return nil
	}
	out := make(amqp.Table, len(t))
	for k, v := range t {
		out[k] = toField(v)
	}
	return out
}

func toField(v any) any {
	switch v := v.(type) {
	case handover.Table:
		return toTable(v)
	case handover.Decimal:
		return amqp.Decimal{Scale: v.Scale, Value: v.Value}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = toField(v[i])
		}
		return out
	}
	return v
}
