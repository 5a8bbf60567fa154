package simbroker

import (
	"slices"

	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

// Kind is a kind of queue.
type Kind string

// The kinds of queues.
const (
	Classic Kind = "classic"
	Quorum  Kind = "quorum"
	Stream  Kind = "stream"
)

// Message is a message as it was published.
type Message struct {
	Exchange, RoutingKey string
	wire.Content

	seq         uint64 // its place in the queue
	redelivered bool
	safe        bool // confirmed, or read by somebody: outlives a restart
}

// Properties are the message's properties.
func (m *Message) Properties() wire.Properties {
	p, err := wire.ParseProperties(m.Content.Properties)
	if err != nil {
		panic(err) // parsed once before, when it came
	}
	return p
}

// Queue is a queue.
type Queue struct {
	Name      string
	Kind      Kind
	durable   bool
	owner     *Conn // of an exclusive queue
	next      uint64
	ready     []*Message // of a stream: all of it
	returned  []*Message // of a quorum queue: what came back is served first
	consumers []*consumer
}

// consumer is a consumer as its queue knows it: the queue may notice the end of
// the consumer's channel later than the client does.
type consumer struct {
	q        *Queue
	ch       *channel
	tag      string
	noAck    bool
	prefetch int // 0: no bound
	inFlight int
	at       int // of a stream: what it reads next
}

func (q *Queue) push(m *Message) {
	m.seq = q.next
	q.next++
	q.ready = append(q.ready, m)
	q.serve()
}

// serve gives consumers what they have room for, in turn, as the queue does at
// the end of everything that happens to it. (A stream is read by its consumers
// in their own time.)
func (q *Queue) serve() {
	for served := q.Kind != Stream; served && q.Len() > 0; {
		served = false
		for _, c := range q.consumers {
			if c.wants() {
				c.assign()
				q.consumers = append(slices.DeleteFunc(q.consumers, func(o *consumer) bool { return o == c }), c)
				served = true
				break
			}
		}
	}
}

// giveBack takes messages back that were not acknowledged, in their order.
// A classic queue puts each where it was; a quorum queue serves what is given
// back before anything else, in the order in which it came back.
func (q *Queue) giveBack(m *Message) {
	m.redelivered = true
	switch q.Kind {
	case Stream:
	case Quorum:
		q.returned = append(q.returned, m)
	default:
		at, _ := slices.BinarySearchFunc(q.ready, m, func(a, b *Message) int { return int(a.seq) - int(b.seq) })
		q.ready = slices.Insert(q.ready, at, m)
	}
}

// Len is the number of messages that are ready.
func (q *Queue) Len() int { return len(q.returned) + len(q.ready) }

func (q *Queue) pop() *Message {
	from := &q.ready
	if len(q.returned) > 0 {
		from = &q.returned
	}
	m := (*from)[0]
	*from = (*from)[1:]
	return m
}

// wants reports whether the queue has something for the consumer, and the
// consumer room for it.
func (c *consumer) wants() bool {
	if !c.noAck && c.prefetch > 0 && c.inFlight >= c.prefetch {
		return false
	}
	if c.q.Kind == Stream {
		return c.at < len(c.q.ready)
	}
	return c.q.Len() > 0
}

// assign gives the consumer's channel the next message of the queue.
func (c *consumer) assign() *delivery {
	var m *Message
	if c.q.Kind == Stream {
		m = c.q.ready[c.at]
		m.safe = true // a stream shows only what is committed
		c.at++
	} else {
		m = c.q.pop()
	}
	c.inFlight++
	d := &delivery{m: m, q: c.q, to: c, redelivered: m.redelivered}
	c.ch.onWay = append(c.ch.onWay, d)
	return d
}
