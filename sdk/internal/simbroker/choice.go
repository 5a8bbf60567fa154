package simbroker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// What a broker can do next.
const (
	Process   = "process"    // the next method of a client
	Assign    = "assign"     // give a consumer the next message of a stream
	Forward   = "forward"    // write a message that is given to a consumer to its client
	Confirm   = "confirm"    // confirm publishings
	Notice    = "notice"     // let a queue notice that a channel has ended
	End       = "end"        // notice that a client is gone
	StreamsUp = "streams up" // after a restart
)

// Choice is one thing that the broker can do next.
type Choice struct {
	Kind  string
	Since time.Time // Notice, End, StreamsUp: since when it has been due

	in   *input
	to   *consumer
	ch   *channel
	gone *ghost
	conn *Conn
}

// Choices appends all that the broker can do next, in an order that depends on
// what has happened alone.
func (b *Broker) Choices(to []Choice) []Choice {
	for _, c := range b.conns {
		c.pump()
		for _, in := range c.inputs {
			if len(in.commands) > 0 {
				to = append(to, Choice{Kind: Process, in: in})
			}
			ch := c.channels[in.number]
			if ch == nil || ch.refused {
				continue
			}
			if len(ch.onWay) > 0 {
				to = append(to, Choice{Kind: Forward, ch: ch})
			}
			if len(ch.unconfirmed) > 0 {
				to = append(to, Choice{Kind: Confirm, ch: ch})
			}
		}
		if c.silent {
			to = append(to, Choice{Kind: End, conn: c, Since: c.since})
		}
	}
	for _, q := range b.all() {
		for _, c := range q.consumers {
			if q.Kind == Stream && c.wants() {
				to = append(to, Choice{Kind: Assign, to: c})
			}
		}
	}
	for _, g := range b.ghosts {
		to = append(to, Choice{Kind: Notice, gone: g, Since: g.gone})
	}
	if b.streamsDown {
		to = append(to, Choice{Kind: StreamsUp, Since: b.downSince})
	}
	return to
}

// Do does it, and returns what it was for people to read.
func (b *Broker) Do(c Choice, r *rand.Rand) fmt.Stringer {
	switch c.Kind {
	case Process:
		m := c.in.process()
		return did{"%s#%d: %T%+v", []any{c.in.conn, c.in.number, m, m}}
	case Assign:
		d := c.to.assign()
		return did{"%s: assign %s to %s", []any{c.to.q.Name, d, c.to.ch.conn}}
	case Forward:
		d := c.ch.forward()
		return did{"%s#%d: deliver %s as %d", []any{c.ch.conn, c.ch.number, d, d.tag}}
	case Confirm:
		at, multiple := r.IntN(len(c.ch.unconfirmed)), r.IntN(2) == 0
		seq := c.ch.unconfirmed[at].seq
		c.ch.confirm(at, multiple)
		return did{"%s#%d: confirm %d, multiple=%v", []any{c.ch.conn, c.ch.number, seq, multiple}}
	case Notice:
		b.ghosts = slices.DeleteFunc(b.ghosts, func(g *ghost) bool { return g == c.gone })
		c.gone.noticed()
		return did{"%s notices that %s#%d has ended", []any{c.gone.q.Name, c.gone.ch.conn, c.gone.ch.number}}
	case End:
		c.conn.end()
		return did{"the end of %s is noticed", []any{c.conn}}
	case StreamsUp:
		b.streamsDown = false
		return did{"streams are up", nil}
	}
	panic("simbroker: no way to do " + c.Kind)
}

// did formats only when it is read.
type did struct {
	format string
	args   []any
}

func (d did) String() string { return fmt.Sprintf(d.format, d.args...) }

func (c *Conn) String() string { return fmt.Sprintf("%s/%d", c.Name, c.id) }

func (d *delivery) String() string {
	return fmt.Sprintf("%s %q", d.q.Name, d.m.Properties().MessageID)
}
