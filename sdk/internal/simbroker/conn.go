package simbroker

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

// Conn is a connection at the broker.
type Conn struct {
	Name string // whose it is

	b        *Broker
	id       int
	pipe     *pipe
	raw      []byte // not yet a whole frame
	greeted  bool
	opened   bool
	silent   bool // the client's end is gone
	since    time.Time
	ended    bool
	channels map[uint16]*channel
	inputs   []*input // by channel number
}

// input is what came on a channel number and is not processed yet.
type input struct {
	conn     *Conn
	number   uint16
	commands []command
	// of the message that is being put together
	head *wire.BasicPublish
	size uint64
	body wire.Content
}

type command struct {
	m       wire.Method
	content wire.Content
}

func (c *Conn) write(channel uint16, m wire.Method) {
	c.pipe.send(wire.AppendMethod(nil, channel, m))
}

func (c *Conn) writeMessage(channel uint16, m wire.Method, content wire.Content) {
	c.pipe.send(wire.AppendContent(wire.AppendMethod(nil, channel, m), channel, content))
}

// pump parses what the client has written since.
func (c *Conn) pump() {
	b, gone := c.pipe.take()
	if gone && !c.silent {
		c.silent, c.since = true, time.Now()
	}
	if len(b) == 0 {
		return
	}
	c.raw = append(c.raw, b...)
	if !c.greeted {
		if len(c.raw) < len(wire.ProtocolHeader) {
			return
		}
		if string(c.raw[:len(wire.ProtocolHeader)]) != wire.ProtocolHeader {
			c.b.fault("%s: not AMQP 0-9-1", c.Name)
			return
		}
		c.greeted = true
		c.raw = c.raw[len(wire.ProtocolHeader):]
		c.write(0, &wire.ConnectionStart{Mechanisms: "PLAIN", Locales: "en_US", Properties: wire.Table{
			"product": "simulated RabbitMQ", "version": "4.0.5",
			"capabilities": wire.Table{"publisher_confirms": true, "basic.nack": true, "consumer_cancel_notify": true}}})
	}
	for {
		f, n, err := wire.ParseFrame(c.raw)
		if err != nil {
			c.b.fault("%s: %v", c.Name, err)
		}
		if n == 0 || err != nil {
			return
		}
		if err := c.frame(f); err != nil {
			c.b.fault("%s, channel %d: %v", c.Name, f.Channel, err)
		}
		c.raw = c.raw[n:]
	}
}

func (c *Conn) input(number uint16) *input {
	for _, in := range c.inputs {
		if in.number == number {
			return in
		}
	}
	in := &input{conn: c, number: number}
	c.inputs = append(c.inputs, in)
	return in
}

// frame puts commands together from frames.
func (c *Conn) frame(f wire.Frame) error {
	in := c.input(f.Channel)
	switch f.Type {
	case wire.FrameHeartbeat:
		return nil
	case wire.FrameMethod:
		m, err := wire.ParseMethod(f.Payload)
		if err != nil {
			return err
		}
		if p, ok := m.(*wire.BasicPublish); ok {
			in.head = p
			return nil
		}
		in.commands = append(in.commands, command{m: m})
		return nil
	case wire.FrameHeader:
		size, properties, err := wire.ParseHeader(f.Payload)
		if err != nil {
			return err
		}
		if _, err := wire.ParseProperties(properties); err != nil {
			return err
		}
		in.size, in.body = size, wire.Content{Properties: append([]byte(nil), properties...)}
	case wire.FrameBody:
		in.body.Body = append(in.body.Body, f.Payload...)
	default:
		return fmt.Errorf("%w: frame type %d", wire.ErrSyntax, f.Type)
	}
	if in.head == nil || uint64(len(in.body.Body)) > in.size {
		return fmt.Errorf("%w: content out of place", wire.ErrSyntax)
	}
	if uint64(len(in.body.Body)) == in.size {
		in.commands = append(in.commands, command{m: in.head, content: in.body})
		in.head = nil
	}
	return nil
}

// process does the next thing that the client asked for on this channel number.
func (in *input) process() wire.Method {
	cmd := in.commands[0]
	in.commands = in.commands[1:]
	c := in.conn
	if in.number == 0 {
		c.connection(cmd.m)
		return cmd.m
	}
	ch := c.channels[in.number]
	switch {
	case ch == nil:
		if _, ok := cmd.m.(*wire.ChannelOpen); !ok {
			c.b.fault("%s: %T on channel %d, which is not open", c.Name, cmd.m, in.number)
			break
		}
		c.channels[in.number] = &channel{conn: c, number: in.number}
		c.write(in.number, &wire.ChannelOpenOk{})
	case ch.refused:
		if _, ok := cmd.m.(*wire.ChannelCloseOk); ok {
			delete(c.channels, in.number)
		}
	default:
		ch.method(cmd)
	}
	return cmd.m
}

func (c *Conn) connection(m wire.Method) {
	switch m.(type) {
	case *wire.ConnectionStartOk:
		c.write(0, &wire.ConnectionTune{ChannelMax: 2047, FrameMax: wire.MaxFrame, Heartbeat: 60})
	case *wire.ConnectionTuneOk:
	case *wire.ConnectionOpen:
		c.opened = true
		c.write(0, &wire.ConnectionOpenOk{})
	case *wire.ConnectionClose:
		// Channels work off what they have been sent.
		for _, in := range c.inputs {
			for in.number != 0 && len(in.commands) > 0 {
				in.process()
			}
		}
		c.write(0, &wire.ConnectionCloseOk{})
		c.end()
	default:
		c.b.fault("%s: %T on channel 0", c.Name, m)
	}
}

// end is the connection's end at the broker. Its exclusive queues go; the other
// queues notice later, in their own time.
func (c *Conn) end() {
	c.ended = true
	c.pipe.forget()
	for _, in := range c.inputs {
		if ch := c.channels[in.number]; ch != nil && !ch.refused {
			c.b.ghost(ch)
		}
	}
	for _, q := range c.b.all() {
		if q.owner == c {
			c.b.remove(q)
		}
	}
	c.b.dropConn(c)
}
