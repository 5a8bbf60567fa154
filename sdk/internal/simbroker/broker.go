package simbroker

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

// Broker is a simulated RabbitMQ. It may be used while no client is doing
// anything (after synctest.Wait).
type Broker struct {
	// Faults are the things that no client should have done.
	Faults []string
	// SlowClassic makes classic queues notice the end of a channel as late as
	// the others do; RabbitMQ tells them before it answers channel.close.
	SlowClassic bool

	conns       []*Conn
	ghosts      []*ghost
	cameBack    map[string][]*Message // from ended channels, by the client's name
	queues      map[string]*Queue
	exchanges   map[string]string // types by name
	streamsDown bool
	downSince   time.Time
	ids, names  int
}

// New makes a broker.
func New() *Broker {
	return &Broker{queues: map[string]*Queue{}, exchanges: map[string]string{}, cameBack: map[string][]*Message{}}
}

func (b *Broker) fault(format string, args ...any) {
	b.Faults = append(b.Faults, fmt.Sprintf(format, args...))
}

// Accept makes a connection: the client's end, and the broker's.
func (b *Broker) Accept(name string) (net.Conn, *Conn) {
	b.ids++
	c := &Conn{Name: name, b: b, id: b.ids, pipe: newPipe(), channels: map[uint16]*channel{}}
	b.conns = append(b.conns, c)
	return c.pipe, c
}

// Handshake answers what the client says until the connection is open.
// Between the steps the client is waited for. It reports false if the client has gone.
func (c *Conn) Handshake(wait func()) bool {
	for !c.opened {
		wait()
		c.pump()
		in := c.input(0)
		if len(in.commands) == 0 {
			if c.silent || c.ended {
				return false
			}
			continue
		}
		in.process()
	}
	wait()
	return true
}

// all are the queues by name.
func (b *Broker) all() []*Queue {
	qs := make([]*Queue, 0, len(b.queues))
	for _, name := range slices.Sorted(maps.Keys(b.queues)) {
		qs = append(qs, b.queues[name])
	}
	return qs
}

// Queue is the queue of this name, or nil.
func (b *Broker) Queue(name string) *Queue { return b.queues[name] }

// DeclareQueue makes a queue, if it is not there.
func (b *Broker) DeclareQueue(name string, kind Kind, durable bool) *Queue {
	if b.queues[name] == nil {
		b.queues[name] = &Queue{Name: name, Kind: kind, durable: durable}
	}
	return b.queues[name]
}

// Exchange is the type of the exchange of this name, or empty.
func (b *Broker) Exchange(name string) string { return b.exchanges[name] }

// DeclareExchange makes an exchange, if it is not there.
func (b *Broker) DeclareExchange(name, kind string) {
	if _, ok := b.exchanges[name]; !ok {
		b.exchanges[name] = kind
	}
}

// Publish publishes to the default exchange, as somebody who is not simulated
// further, and reports whether the queue is there.
func (b *Broker) Publish(queue string, p wire.Properties, body []byte) bool {
	p.DeliveryMode = wire.Persistent
	return b.route(&Message{RoutingKey: queue, Content: wire.Content{Properties: p.Encode(), Body: body}, safe: true}) != nil
}

// Take takes the next message of a queue, or nil.
func (b *Broker) Take(queue string) *Message {
	if q := b.queues[queue]; q != nil && q.Len() > 0 {
		return q.pop()
	}
	return nil
}

func (b *Broker) route(m *Message) *Queue {
	q := b.queues[m.RoutingKey]
	if m.Exchange != "" || q == nil || q.Kind == Stream && b.streamsDown {
		return nil
	}
	q.push(m)
	return q
}

// Remove deletes a queue.
func (b *Broker) Remove(queue string) {
	if q := b.queues[queue]; q != nil {
		b.remove(q)
	}
}

func (b *Broker) remove(q *Queue) {
	delete(b.queues, q.Name)
	for _, c := range q.consumers {
		if ch := c.ch; ch.conn.channels[ch.number] == ch && !ch.refused {
			ch.conn.write(ch.number, &wire.BasicCancel{ConsumerTag: c.tag, NoWait: true})
		}
	}
	q.consumers = nil
}

func (b *Broker) dropConn(c *Conn) {
	b.conns = slices.DeleteFunc(b.conns, func(o *Conn) bool { return o == c })
}

// ghost is a channel that has ended, to a queue that has not noticed yet.
type ghost struct {
	ch   *channel
	q    *Queue
	gone time.Time
}

// ghost notes that a channel has ended at the client, or with its connection.
// Each queue learns of it in its own time, a classic one before the client does.
func (b *Broker) ghost(ch *channel) {
	var queues []*Queue
	for _, c := range ch.consumers {
		queues = append(queues, c.q)
	}
	for _, d := range slices.Concat(ch.unacked, ch.onWay) {
		queues = append(queues, d.q)
	}
	for i, q := range queues {
		if slices.Contains(queues[:i], q) {
			continue
		}
		g := &ghost{ch, q, time.Now()}
		if !ch.conn.ended && !b.SlowClassic && q.Kind != Quorum {
			g.noticed()
			continue
		}
		b.ghosts = append(b.ghosts, g)
	}
}

// noticed is the moment at which the queue notices: it takes the consumers
// off and what was unacknowledged back, in one step.
func (g *ghost) noticed() {
	g.q.consumers = slices.DeleteFunc(g.q.consumers, func(c *consumer) bool { return c.ch == g.ch })
	b := g.ch.conn.b
	back := func(list []*delivery) []*delivery {
		return slices.DeleteFunc(list, func(d *delivery) bool {
			if d.q == g.q {
				g.q.giveBack(d.m)
				b.cameBack[g.ch.conn.Name] = append(b.cameBack[g.ch.conn.Name], d.m)
			}
			return d.q == g.q
		})
	}
	g.ch.unacked, g.ch.onWay = back(g.ch.unacked), back(g.ch.onWay)
	g.q.serve()
}

// Cut breaks a connection: the client's end is dead at once; the broker learns
// of it later (Choices, kind End), and goes on until then with what it was sent.
func (c *Conn) Cut() { c.pipe.breakClient(io.EOF) }

// Forget ends a connection at the broker alone: the client's end stays deaf and
// dumb until the client's own time-out.
func (c *Conn) Forget() { c.end() }

// Conns are the connections that the broker keeps and whose clients are there.
func (b *Broker) Conns() []*Conn {
	var live []*Conn
	for _, c := range b.conns {
		if !c.silent && c.opened {
			live = append(live, c)
		}
	}
	return live
}

// Quiet reports whether the broker knows all that has happened.
func (b *Broker) Quiet() bool {
	return len(b.ghosts) == 0 && !slices.ContainsFunc(b.conns, func(c *Conn) bool { return c.silent })
}

// Heartbeat sends a heartbeat on every connection.
func (b *Broker) Heartbeat() {
	for _, c := range b.conns {
		if c.opened {
			c.pipe.send(wire.Frame{Type: wire.FrameHeartbeat}.Append(nil))
		}
	}
}

// Restart ends the broker and starts it again, for the clients in one moment:
// connections, exclusive and transient queues are gone; what is durable stays;
// of what was not confirmed an end may be lost. Streams take nothing until they
// are up again (Choices, kind StreamsUp).
func (b *Broker) Restart(r *rand.Rand) {
	for _, c := range slices.Clone(b.conns) {
		c.Cut()
		c.end()
	}
	for _, g := range b.ghosts {
		g.noticed()
	}
	b.ghosts = nil
	for _, q := range b.all() {
		if !q.durable {
			b.remove(q)
			continue
		}
		for n := len(q.ready); n > 0 && !q.ready[n-1].safe && r.IntN(2) == 0; n-- {
			q.ready = q.ready[:n-1]
		}
	}
	b.streamsDown, b.downSince = true, time.Now()
}

// Takers are the names of those who take from a queue: who has a consumer on
// it, or holds something of it.
func (b *Broker) Takers(queue string) []string {
	q := b.queues[queue]
	var names []string
	for _, c := range q.consumers {
		names = append(names, c.ch.conn.Name)
	}
	var channels []*channel
	for _, g := range b.ghosts {
		channels = append(channels, g.ch)
	}
	for _, c := range b.conns {
		for _, ch := range c.channels {
			channels = append(channels, ch)
		}
	}
	for _, ch := range channels {
		for _, d := range slices.Concat(ch.unacked, ch.onWay) {
			if d.q == q {
				names = append(names, ch.conn.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// CameBack are the messages that a client did not settle before its channels ended.
func (b *Broker) CameBack(name string) []*Message { return b.cameBack[name] }

// Held is how many messages of a queue are with consumers or on their way to them.
func (b *Broker) Held(queue string) int {
	n := 0
	for _, c := range b.queues[queue].consumers {
		n += c.inFlight
	}
	return n
}
