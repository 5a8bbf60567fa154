package wire

import (
	"encoding/binary"
	"fmt"
)

// The classes.
const (
	classConnection = 10
	classChannel    = 20
	classExchange   = 40
	classQueue      = 50
	classBasic      = 60
	classConfirm    = 85
)

// Method is a method with its arguments.
type Method interface {
	// id is the method's number: class and method.
	id() (class, method uint16)
	args(*coder)
}

// The methods are named as in the specification. The arguments that it
// reserves are passed over.

type (
	// ConnectionStart is connection.start.
	ConnectionStart struct {
		Properties          Table
		Mechanisms, Locales string
	}
	// ConnectionStartOk is connection.start-ok.
	ConnectionStartOk struct {
		Properties                  Table
		Mechanism, Response, Locale string
	}
	// ConnectionTune is connection.tune.
	ConnectionTune struct {
		ChannelMax uint16
		FrameMax   uint32
		Heartbeat  uint16 // seconds
	}
	// ConnectionTuneOk is connection.tune-ok.
	ConnectionTuneOk struct{ ConnectionTune }
	// ConnectionOpen is connection.open.
	ConnectionOpen struct{ VirtualHost string }
	// ConnectionOpenOk is connection.open-ok.
	ConnectionOpenOk struct{}
	// Closing is what connection.close and channel.close tell: the reply code
	// and text, and the method that gave the cause.
	Closing struct {
		Code                    uint16
		Text                    string
		FailedClass, FailedMeth uint16
	}
	// ConnectionClose is connection.close.
	ConnectionClose struct{ Closing }
	// ConnectionCloseOk is connection.close-ok.
	ConnectionCloseOk struct{}

	// ChannelOpen is channel.open.
	ChannelOpen struct{}
	// ChannelOpenOk is channel.open-ok.
	ChannelOpenOk struct{}
	// ChannelClose is channel.close.
	ChannelClose struct{ Closing }
	// ChannelCloseOk is channel.close-ok.
	ChannelCloseOk struct{}

	// ExchangeDeclare is exchange.declare.
	ExchangeDeclare struct {
		Exchange, Type                                 string
		Passive, Durable, AutoDelete, Internal, NoWait bool
		Arguments                                      Table
	}
	// ExchangeDeclareOk is exchange.declare-ok.
	ExchangeDeclareOk struct{}
	// ExchangeDelete is exchange.delete.
	ExchangeDelete struct {
		Exchange         string
		IfUnused, NoWait bool
	}
	// ExchangeDeleteOk is exchange.delete-ok.
	ExchangeDeleteOk struct{}

	// QueueDeclare is queue.declare.
	QueueDeclare struct {
		Queue                                           string
		Passive, Durable, Exclusive, AutoDelete, NoWait bool
		Arguments                                       Table
	}
	// QueueDeclareOk is queue.declare-ok.
	QueueDeclareOk struct {
		Queue                       string
		MessageCount, ConsumerCount uint32
	}
	// QueueDelete is queue.delete.
	QueueDelete struct {
		Queue                     string
		IfUnused, IfEmpty, NoWait bool
	}
	// QueueDeleteOk is queue.delete-ok.
	QueueDeleteOk struct{ MessageCount uint32 }

	// BasicQos is basic.qos.
	BasicQos struct {
		PrefetchSize  uint32
		PrefetchCount uint16
		Global        bool
	}
	// BasicQosOk is basic.qos-ok.
	BasicQosOk struct{}
	// BasicConsume is basic.consume.
	BasicConsume struct {
		Queue, ConsumerTag                string
		NoLocal, NoAck, Exclusive, NoWait bool
		Arguments                         Table
	}
	// BasicConsumeOk is basic.consume-ok.
	BasicConsumeOk struct{ ConsumerTag string }
	// BasicCancel is basic.cancel.
	BasicCancel struct {
		ConsumerTag string
		NoWait      bool
	}
	// BasicPublish is basic.publish.
	BasicPublish struct {
		Exchange, RoutingKey string
		Mandatory, Immediate bool
	}
	// BasicReturn is basic.return.
	BasicReturn struct {
		Code                       uint16
		Text, Exchange, RoutingKey string
	}
	// BasicDeliver is basic.deliver.
	BasicDeliver struct {
		ConsumerTag          string
		DeliveryTag          uint64
		Redelivered          bool
		Exchange, RoutingKey string
	}
	// BasicGet is basic.get.
	BasicGet struct {
		Queue string
		NoAck bool
	}
	// BasicGetOk is basic.get-ok.
	BasicGetOk struct {
		DeliveryTag          uint64
		Redelivered          bool
		Exchange, RoutingKey string
		MessageCount         uint32
	}
	// BasicGetEmpty is basic.get-empty.
	BasicGetEmpty struct{}
	// BasicAck is basic.ack.
	BasicAck struct {
		DeliveryTag uint64
		Multiple    bool
	}
	// BasicReject is basic.reject.
	BasicReject struct {
		DeliveryTag uint64
		Requeue     bool
	}
	// BasicNack is basic.nack.
	BasicNack struct {
		DeliveryTag       uint64
		Multiple, Requeue bool
	}

	// ConfirmSelect is confirm.select.
	ConfirmSelect struct{ NoWait bool }
	// ConfirmSelectOk is confirm.select-ok.
	ConfirmSelectOk struct{}
)

func (*ConnectionStart) id() (uint16, uint16)   { return classConnection, 10 }
func (*ConnectionStartOk) id() (uint16, uint16) { return classConnection, 11 }
func (*ConnectionTune) id() (uint16, uint16)    { return classConnection, 30 }
func (*ConnectionTuneOk) id() (uint16, uint16)  { return classConnection, 31 }
func (*ConnectionOpen) id() (uint16, uint16)    { return classConnection, 40 }
func (*ConnectionOpenOk) id() (uint16, uint16)  { return classConnection, 41 }
func (*ConnectionClose) id() (uint16, uint16)   { return classConnection, 50 }
func (*ConnectionCloseOk) id() (uint16, uint16) { return classConnection, 51 }
func (*ChannelOpen) id() (uint16, uint16)       { return classChannel, 10 }
func (*ChannelOpenOk) id() (uint16, uint16)     { return classChannel, 11 }
func (*ChannelClose) id() (uint16, uint16)      { return classChannel, 40 }
func (*ChannelCloseOk) id() (uint16, uint16)    { return classChannel, 41 }
func (*ExchangeDeclare) id() (uint16, uint16)   { return classExchange, 10 }
func (*ExchangeDeclareOk) id() (uint16, uint16) { return classExchange, 11 }
func (*ExchangeDelete) id() (uint16, uint16)    { return classExchange, 20 }
func (*ExchangeDeleteOk) id() (uint16, uint16)  { return classExchange, 21 }
func (*QueueDeclare) id() (uint16, uint16)      { return classQueue, 10 }
func (*QueueDeclareOk) id() (uint16, uint16)    { return classQueue, 11 }
func (*QueueDelete) id() (uint16, uint16)       { return classQueue, 40 }
func (*QueueDeleteOk) id() (uint16, uint16)     { return classQueue, 41 }
func (*BasicQos) id() (uint16, uint16)          { return classBasic, 10 }
func (*BasicQosOk) id() (uint16, uint16)        { return classBasic, 11 }
func (*BasicConsume) id() (uint16, uint16)      { return classBasic, 20 }
func (*BasicConsumeOk) id() (uint16, uint16)    { return classBasic, 21 }
func (*BasicCancel) id() (uint16, uint16)       { return classBasic, 30 }
func (*BasicPublish) id() (uint16, uint16)      { return classBasic, 40 }
func (*BasicReturn) id() (uint16, uint16)       { return classBasic, 50 }
func (*BasicDeliver) id() (uint16, uint16)      { return classBasic, 60 }
func (*BasicGet) id() (uint16, uint16)          { return classBasic, 70 }
func (*BasicGetOk) id() (uint16, uint16)        { return classBasic, 71 }
func (*BasicGetEmpty) id() (uint16, uint16)     { return classBasic, 72 }
func (*BasicAck) id() (uint16, uint16)          { return classBasic, 80 }
func (*BasicReject) id() (uint16, uint16)       { return classBasic, 90 }
func (*BasicNack) id() (uint16, uint16)         { return classBasic, 120 }
func (*ConfirmSelect) id() (uint16, uint16)     { return classConfirm, 10 }
func (*ConfirmSelectOk) id() (uint16, uint16)   { return classConfirm, 11 }

// made makes every method by its number.
var made = func() map[[2]uint16]func() Method {
	all := []func() Method{
		of[ConnectionStart], of[ConnectionStartOk], of[ConnectionTune], of[ConnectionTuneOk], of[ConnectionOpen], of[ConnectionOpenOk],
		of[ConnectionClose], of[ConnectionCloseOk], of[ChannelOpen], of[ChannelOpenOk], of[ChannelClose], of[ChannelCloseOk],
		of[ExchangeDeclare], of[ExchangeDeclareOk], of[ExchangeDelete], of[ExchangeDeleteOk],
		of[QueueDeclare], of[QueueDeclareOk], of[QueueDelete], of[QueueDeleteOk],
		of[BasicQos], of[BasicQosOk], of[BasicConsume], of[BasicConsumeOk], of[BasicCancel], of[BasicPublish], of[BasicReturn], of[BasicDeliver],
		of[BasicGet], of[BasicGetOk], of[BasicGetEmpty], of[BasicAck], of[BasicReject], of[BasicNack],
		of[ConfirmSelect], of[ConfirmSelectOk],
	}
	m := map[[2]uint16]func() Method{}
	for _, f := range all {
		class, method := f().id()
		m[[2]uint16{class, method}] = f
	}
	return m
}()

func of[T any, P interface {
	*T
	Method
}]() Method {
	return P(new(T))
}

func encodeMethod(m Method) []byte {
	class, method := m.id()
	c := coder{encode: true}
	c.short(&class)
	c.short(&method)
	m.args(&c)
	c.endBits()
	if c.err != nil {
		panic(c.err) // the broker's own words
	}
	return c.b
}

// ParseMethod parses the payload of a method frame.
func ParseMethod(payload []byte) (Method, error) {
	if len(payload) < 4 {
		return nil, fmt.Errorf("%w: method of %d bytes", ErrSyntax, len(payload))
	}
	id := [2]uint16{binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])}
	mk, ok := made[id]
	if !ok {
		return nil, fmt.Errorf("%w: method %d of class %d is not simulated", ErrSyntax, id[1], id[0])
	}
	m := mk()
	c := coder{b: payload[4:]}
	m.args(&c)
	c.endBits()
	if c.err == nil && len(c.b) > 0 {
		c.fail(fmt.Sprintf("%d bytes behind %T", len(c.b), m))
	}
	return m, c.err
}
