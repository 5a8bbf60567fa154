// Package wire is the broker's side of AMQP 0-9-1 on the wire: frames, and the
// methods that the library and its client use. Source: the AMQP 0-9-1
// specification and RabbitMQ's extensions and errata to it
// (https://www.rabbitmq.com/amqp-0-9-1-reference, https://www.rabbitmq.com/amqp-0-9-1-errata).
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The types of frames.
const (
	FrameMethod    = 1
	FrameHeader    = 2
	FrameBody      = 3
	FrameHeartbeat = 8

	frameEnd      = 0xCE
	frameOverhead = 8 // type, channel, size and end
)

// MaxFrame is the size of the biggest frame, what RabbitMQ offers by default.
const MaxFrame = 131072

// ProtocolHeader is what a client sends first.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// ErrSyntax is the error of bytes that are not AMQP 0-9-1.
var ErrSyntax = errors.New("not AMQP 0-9-1")

// Frame is a frame. The payload aliases the bytes that it was parsed from.
type Frame struct {
	Type    byte
	Channel uint16
	Payload []byte
}

// ParseFrame parses the frame that b begins with and returns its length on the
// wire, which is 0 if b holds only a part of it.
func ParseFrame(b []byte) (Frame, int, error) {
	if len(b) < 7 {
		return Frame{}, 0, nil
	}
	size := binary.BigEndian.Uint32(b[3:7])
	if size > MaxFrame-frameOverhead {
		return Frame{}, 0, fmt.Errorf("%w: frame of %d bytes", ErrSyntax, size)
	}
	n := int(size) + frameOverhead
	if len(b) < n {
		return Frame{}, 0, nil
	}
	if b[n-1] != frameEnd {
		return Frame{}, 0, fmt.Errorf("%w: frame ends with %#x", ErrSyntax, b[n-1])
	}
	return Frame{Type: b[0], Channel: binary.BigEndian.Uint16(b[1:3]), Payload: b[7 : n-1]}, n, nil
}

// Append lays the frame out behind b.
func (f Frame) Append(b []byte) []byte {
	b = append(b, f.Type)
	b = binary.BigEndian.AppendUint16(b, f.Channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Payload)))
	b = append(b, f.Payload...)
	return append(b, frameEnd)
}

// AppendMethod lays a method out behind b.
func AppendMethod(b []byte, channel uint16, m Method) []byte {
	return Frame{FrameMethod, channel, encodeMethod(m)}.Append(b)
}

// Content is what follows a method that carries a message.
type Content struct {
	Properties []byte // as on the wire, flags included: see Properties
	Body       []byte
}

// AppendContent lays the content of a method of class basic out behind b.
func AppendContent(b []byte, channel uint16, c Content) []byte {
	header := binary.BigEndian.AppendUint16(nil, classBasic)
	header = binary.BigEndian.AppendUint16(header, 0) // weight
	header = binary.BigEndian.AppendUint64(header, uint64(len(c.Body)))
	b = Frame{FrameHeader, channel, append(header, c.Properties...)}.Append(b)
	for rest := c.Body; len(rest) > 0; {
		n := min(len(rest), MaxFrame-frameOverhead)
		b = Frame{FrameBody, channel, rest[:n]}.Append(b)
		rest = rest[n:]
	}
	return b
}

// ParseHeader parses the payload of a content header: the size of the body
// and the properties as they are.
func ParseHeader(payload []byte) (size uint64, properties []byte, err error) {
	if len(payload) < 14 || binary.BigEndian.Uint16(payload) != classBasic {
		return 0, nil, fmt.Errorf("%w: content header", ErrSyntax)
	}
	return binary.BigEndian.Uint64(payload[4:12]), payload[12:], nil
}
