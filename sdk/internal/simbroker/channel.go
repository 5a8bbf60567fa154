package simbroker

import (
	"fmt"
	"slices"

	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

// Reply codes.
const (
	noRoute            = 312
	notFound           = 404
	resourceLocked     = 405
	preconditionFailed = 406
)

// channel is a channel at the broker.
type channel struct {
	conn     *Conn
	number   uint16
	prefetch int
	refused  bool // channel.close is sent; waits for its answer

	confirms    bool
	published   uint64
	unconfirmed []unconfirmed
	tag         uint64
	onWay       []*delivery // from the queue, not yet written to the client
	unacked     []*delivery
	consumers   []*consumer
}

type unconfirmed struct {
	seq uint64
	q   *Queue // nil: it went nowhere
	m   *Message
}

type delivery struct {
	m           *Message
	q           *Queue
	to          *consumer // nil: basic.get
	tag         uint64
	redelivered bool
}

// method processes one method of the client.
func (ch *channel) method(cmd command) {
	b := ch.conn.b
	answer := func(m wire.Method) { ch.conn.write(ch.number, m) }
	switch m := cmd.m.(type) {
	case *wire.ChannelClose:
		delete(ch.conn.channels, ch.number)
		b.ghost(ch)
		answer(&wire.ChannelCloseOk{})
	case *wire.ChannelCloseOk: // crossed our own
	case *wire.ExchangeDeclare:
		kind, exists := b.exchanges[m.Exchange]
		switch {
		case m.Passive && !exists:
			ch.refuse(notFound, "NOT_FOUND - no exchange '%s' in vhost '/'", m.Exchange)
			return
		case !m.Passive && exists && kind != m.Type:
			ch.refuse(preconditionFailed, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '%s' in vhost '/': received '%s' but current is '%s'", m.Exchange, m.Type, kind)
			return
		case !m.Passive:
			b.DeclareExchange(m.Exchange, m.Type)
		}
		answer(&wire.ExchangeDeclareOk{})
	case *wire.ExchangeDelete:
		delete(b.exchanges, m.Exchange)
		answer(&wire.ExchangeDeleteOk{})
	case *wire.QueueDeclare:
		ch.declare(m)
	case *wire.QueueDelete:
		if q := ch.queue(m.Queue); q != nil {
			b.remove(q)
			answer(&wire.QueueDeleteOk{MessageCount: uint32(q.Len())})
		}
	case *wire.BasicQos:
		ch.prefetch = int(m.PrefetchCount)
		answer(&wire.BasicQosOk{})
	case *wire.BasicConsume:
		ch.consume(m)
	case *wire.BasicGet:
		ch.get(m)
	case *wire.BasicPublish:
		ch.publish(m, cmd.content)
	case *wire.BasicAck:
		ch.settle(m.DeliveryTag, m.Multiple, false)
	case *wire.BasicReject:
		ch.settle(m.DeliveryTag, false, m.Requeue)
	case *wire.BasicNack:
		ch.settle(m.DeliveryTag, m.Multiple, m.Requeue)
	case *wire.ConfirmSelect:
		ch.confirms = true
		answer(&wire.ConfirmSelectOk{})
	default:
		b.fault("%s: %T from a client", ch.conn.Name, cmd.m)
	}
}

// refuse is a channel exception: the channel is gone with all it held.
func (ch *channel) refuse(code uint16, format string, args ...any) {
	ch.refused = true
	ch.conn.b.ghost(ch)
	ch.conn.write(ch.number, &wire.ChannelClose{Closing: wire.Closing{Code: code, Text: fmt.Sprintf(format, args...)}})
}

// queue is the queue of this name, or nil if the channel has been refused it.
func (ch *channel) queue(name string) *Queue {
	q := ch.conn.b.queues[name]
	switch {
	case q == nil || q.Kind == Stream && ch.conn.b.streamsDown:
		ch.refuse(notFound, "NOT_FOUND - no queue '%s' in vhost '/'", name)
		return nil
	case q.owner != nil && q.owner != ch.conn:
		ch.refuse(resourceLocked, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'", name)
		return nil
	}
	return q
}

func (ch *channel) declare(m *wire.QueueDeclare) {
	b := ch.conn.b
	if m.Queue == "" {
		b.names++
		m.Queue = fmt.Sprintf("amq.gen-%d", b.names)
	}
	if b.queues[m.Queue] == nil && !m.Passive {
		kind := Classic
		if t, ok := m.Arguments["x-queue-type"].(string); ok {
			kind = Kind(t)
		}
		q := b.DeclareQueue(m.Queue, kind, m.Durable)
		if m.Exclusive {
			q.owner = ch.conn
		}
	}
	q := ch.queue(m.Queue)
	if q == nil {
		return
	}
	ch.conn.write(ch.number, &wire.QueueDeclareOk{Queue: q.Name, MessageCount: uint32(q.Len()), ConsumerCount: uint32(len(q.consumers))})
}

func (ch *channel) consume(m *wire.BasicConsume) {
	q := ch.queue(m.Queue)
	if q == nil {
		return
	}
	c := &consumer{q: q, ch: ch, tag: m.ConsumerTag, noAck: m.NoAck, prefetch: ch.prefetch}
	if q.Kind == Stream {
		if ch.prefetch == 0 {
			ch.refuse(preconditionFailed, "PRECONDITION_FAILED - consumer prefetch count is not set for stream '%s' in vhost '/'", m.Queue)
			return
		}
		if m.Arguments["x-stream-offset"] != "first" {
			c.at = len(q.ready)
		}
	}
	q.consumers = append(q.consumers, c)
	ch.consumers = append(ch.consumers, c)
	ch.conn.write(ch.number, &wire.BasicConsumeOk{ConsumerTag: m.ConsumerTag})
	q.serve()
}

func (ch *channel) get(m *wire.BasicGet) {
	q := ch.queue(m.Queue)
	if q == nil {
		return
	}
	if q.Len() == 0 {
		ch.conn.write(ch.number, &wire.BasicGetEmpty{})
		return
	}
	msg := q.pop()
	ch.tag++
	d := &delivery{m: msg, q: q, tag: ch.tag, redelivered: msg.redelivered}
	if !m.NoAck {
		ch.unacked = append(ch.unacked, d)
	}
	ch.conn.writeMessage(ch.number, &wire.BasicGetOk{DeliveryTag: d.tag, Redelivered: d.redelivered,
		Exchange: msg.Exchange, RoutingKey: msg.RoutingKey, MessageCount: uint32(q.Len())}, msg.Content)
}

func (ch *channel) publish(p *wire.BasicPublish, content wire.Content) {
	b := ch.conn.b
	if _, ok := b.exchanges[p.Exchange]; !ok && p.Exchange != "" {
		ch.refuse(notFound, "NOT_FOUND - no exchange '%s' in vhost '/'", p.Exchange)
		return
	}
	m := &Message{Exchange: p.Exchange, RoutingKey: p.RoutingKey, Content: content}
	q := b.route(m)
	if q == nil && p.Mandatory {
		ch.conn.writeMessage(ch.number, &wire.BasicReturn{Code: noRoute, Text: "NO_ROUTE",
			Exchange: p.Exchange, RoutingKey: p.RoutingKey}, content)
	}
	if ch.confirms {
		ch.published++
		ch.unconfirmed = append(ch.unconfirmed, unconfirmed{ch.published, q, m})
	} else {
		m.safe = true
	}
}

// settle takes deliveries off the channel; the client must hold them.
func (ch *channel) settle(tag uint64, multiple, requeue bool) {
	if tag == 0 && multiple && len(ch.unacked) > 0 { // all
		tag = ch.unacked[len(ch.unacked)-1].tag
	}
	held := slices.ContainsFunc(ch.unacked, func(d *delivery) bool { return d.tag == tag })
	if !held {
		ch.conn.b.fault("%s settles delivery %d, which it does not hold", ch.conn.Name, tag)
		ch.refuse(preconditionFailed, "PRECONDITION_FAILED - unknown delivery tag %d", tag)
		return
	}
	var rest []*delivery
	var touched []*Queue
	for _, d := range ch.unacked {
		if d.tag != tag && (!multiple || d.tag > tag) {
			rest = append(rest, d)
			continue
		}
		if d.to != nil {
			d.to.inFlight--
		}
		if !slices.Contains(touched, d.q) {
			touched = append(touched, d.q)
		}
		if requeue {
			d.q.giveBack(d.m)
		}
	}
	ch.unacked = rest
	for _, q := range touched {
		q.serve()
	}
}

// forward writes the next delivery to the client.
func (ch *channel) forward() *delivery {
	d := ch.onWay[0]
	ch.onWay = ch.onWay[1:]
	ch.tag++
	d.tag = ch.tag
	if d.to.noAck {
		d.to.inFlight--
	} else {
		ch.unacked = append(ch.unacked, d)
	}
	ch.conn.writeMessage(ch.number, &wire.BasicDeliver{ConsumerTag: d.to.tag, DeliveryTag: d.tag, Redelivered: d.redelivered,
		Exchange: d.m.Exchange, RoutingKey: d.m.RoutingKey}, d.m.Content)
	return d
}

// confirm confirms the first n publishings by one acknowledgement, or only the
// one at the place given. Queues confirm in their order; between queues there
// is none.
func (ch *channel) confirm(at int, multiple bool) {
	u := ch.unconfirmed
	if !multiple {
		q := u[at].q
		at = slices.IndexFunc(u, func(c unconfirmed) bool { return c.q == q })
	}
	for i := range u[:at+1] {
		if multiple || i == at {
			u[i].m.safe = true
		}
	}
	ch.conn.write(ch.number, &wire.BasicAck{DeliveryTag: u[at].seq, Multiple: multiple})
	if multiple {
		ch.unconfirmed = u[at+1:]
	} else {
		ch.unconfirmed = slices.Delete(u, at, at+1)
	}
}
