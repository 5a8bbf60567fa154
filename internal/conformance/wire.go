package conformance

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Method is an AMQP 0-9-1 method, class and number in one.
type Method uint32

// The methods that the clauses look at.
const (
	QueueDeclare    Method = 50<<16 | 10
	ExchangeDeclare Method = 40<<16 | 10
	BasicQos        Method = 60<<16 | 10
	BasicConsume    Method = 60<<16 | 20
	BasicPublish    Method = 60<<16 | 40
	BasicReturn     Method = 60<<16 | 50
	BasicDeliver    Method = 60<<16 | 60
	BasicGet        Method = 60<<16 | 70
	BasicAck        Method = 60<<16 | 80
	BasicReject     Method = 60<<16 | 90
	BasicNack       Method = 60<<16 | 120
)

// Frame is one method with its content, as it went over a connection.
type Frame struct {
	Conn     int // counts the connections from 1
	ToBroker bool
	Channel  uint16
	Method   Method

	Queue, Exchange, Key                             string
	Passive, Exclusive, Mandatory, Multiple, Requeue bool
	Tag                                              uint64
	Prefetch                                         uint16

	MessageID, Type string
	Persistent      bool
	Body            []byte
}

const (
	frameMethod = 1
	frameHeader = 2
	frameBody   = 3
	frameEnd    = 0xCE
)

// rawFrame is a frame as it is on the wire.
type rawFrame struct {
	kind    byte
	channel uint16
	bytes   []byte // all of it
}

func (r rawFrame) payload() []byte { return r.bytes[7 : len(r.bytes)-1] }

func readFrame(from *bufio.Reader) (rawFrame, error) {
	head := make([]byte, 7)
	if _, err := io.ReadFull(from, head); err != nil {
		return rawFrame{}, err
	}
	size := binary.BigEndian.Uint32(head[3:])
	if size > 64<<20 {
		return rawFrame{}, fmt.Errorf("a frame of %d bytes", size)
	}
	b := make([]byte, 7+int(size)+1)
	copy(b, head)
	if _, err := io.ReadFull(from, b[7:]); err != nil {
		return rawFrame{}, err
	}
	if b[len(b)-1] != frameEnd {
		return rawFrame{}, fmt.Errorf("not an AMQP frame: it ends with %#x", b[len(b)-1])
	}
	return rawFrame{kind: head[0], channel: binary.BigEndian.Uint16(head[1:]), bytes: b}, nil
}

// fields reads the fields of a method or of a content header, one by one. What
// is missing reads as zero: such a frame the broker refuses, not this.
type fields struct{ b []byte }

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.b = nil
		return make([]byte, n)
	}
	out := f.b[:n]
	f.b = f.b[n:]
	return out
}

func (f *fields) octet() byte   { return f.take(1)[0] }
func (f *fields) short() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) long() uint32  { return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) longlong() uint64 {
	return binary.BigEndian.Uint64(f.take(8))
}
func (f *fields) shortstr() string { return string(f.take(int(f.octet()))) }
func (f *fields) bits(to ...*bool) {
	o := f.octet()
	for i, p := range to {
		if p != nil {
			*p = o&(1<<i) != 0
		}
	}
}

// parseMethod reads a method frame.
func parseMethod(payload []byte) Frame {
	f := &fields{payload}
	m := Frame{Method: Method(f.long())}
	switch m.Method {
	case QueueDeclare:
		f.short()
		m.Queue = f.shortstr()
		f.bits(&m.Passive, nil, &m.Exclusive)
	case ExchangeDeclare:
		f.short()
		m.Exchange, m.Key = f.shortstr(), f.shortstr() // Key: its type
		f.bits(&m.Passive)
	case BasicQos:
		f.long()
		m.Prefetch = f.short()
	case BasicConsume:
		f.short()
		m.Queue = f.shortstr()
		f.shortstr()
		f.bits(nil, nil, &m.Exclusive)
	case BasicGet:
		f.short()
		m.Queue = f.shortstr()
	case BasicPublish:
		f.short()
		m.Exchange, m.Key = f.shortstr(), f.shortstr()
		f.bits(&m.Mandatory)
	case BasicDeliver:
		f.shortstr()
		m.Tag = f.longlong()
		f.octet()
		m.Exchange, m.Key = f.shortstr(), f.shortstr()
	case BasicReturn:
		f.short()
		f.shortstr()
		m.Exchange, m.Key = f.shortstr(), f.shortstr()
	case BasicAck:
		m.Tag = f.longlong()
		f.bits(&m.Multiple)
	case BasicReject:
		m.Tag = f.longlong()
		f.bits(&m.Requeue)
	case BasicNack:
		m.Tag = f.longlong()
		f.bits(&m.Multiple, &m.Requeue)
	}
	return m
}

// hasContent reports whether a header and bodies follow the method.
func (m Method) hasContent() bool {
	return m == BasicPublish || m == BasicDeliver || m == BasicReturn || m == 60<<16|71 // basic.get-ok
}

// parseHeader reads the properties that the clauses look at, and the size of the body.
func (m *Frame) parseHeader(payload []byte) (size uint64) {
	f := &fields{payload}
	f.long() // class and weight
	size = f.longlong()
	flags := f.short()
	has := func(bit int) bool { return flags&(1<<bit) != 0 }
	skip := func(bit int) {
		if has(bit) {
			f.shortstr()
		}
	}
	skip(15)
	skip(14)
	if has(13) {
		f.take(int(f.long()))
	}
	if has(12) {
		m.Persistent = f.octet() == 2
	}
	if has(11) {
		f.octet()
	}
	skip(10)
	skip(9)
	skip(8)
	if has(7) {
		m.MessageID = f.shortstr()
	}
	if has(6) {
		f.longlong()
	}
	if has(5) {
		m.Type = f.shortstr()
	}
	return size
}
