package wire

// reserved is an argument that the specification reserves.
func (c *coder) reservedShort() { c.short(new(uint16)) }
func (c *coder) reservedStr()   { c.shortstr(new(string)) }

func (m *ConnectionStart) args(c *coder) {
	major, minor := uint8(0), uint8(9)
	c.octet(&major)
	c.octet(&minor)
	c.table(&m.Properties)
	c.longstr(&m.Mechanisms)
	c.longstr(&m.Locales)
}

func (m *ConnectionStartOk) args(c *coder) {
	c.table(&m.Properties)
	c.shortstr(&m.Mechanism)
	c.longstr(&m.Response)
	c.shortstr(&m.Locale)
}

func (m *ConnectionTune) args(c *coder) {
	c.short(&m.ChannelMax)
	c.long(&m.FrameMax)
	c.short(&m.Heartbeat)
}

func (m *ConnectionOpen) args(c *coder) {
	c.shortstr(&m.VirtualHost)
	c.reservedStr()
	c.bit(new(bool))
}

func (*ConnectionOpenOk) args(c *coder) { c.reservedStr() }

func (m *Closing) args(c *coder) {
	c.short(&m.Code)
	c.shortstr(&m.Text)
	c.short(&m.FailedClass)
	c.short(&m.FailedMeth)
}

func (*ConnectionCloseOk) args(*coder) {}
func (*ChannelOpen) args(c *coder)     { c.reservedStr() }
func (*ChannelOpenOk) args(c *coder)   { c.longstr(new(string)) }
func (*ChannelCloseOk) args(*coder)    {}

func (m *ExchangeDeclare) args(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Exchange)
	c.shortstr(&m.Type)
	for _, b := range []*bool{&m.Passive, &m.Durable, &m.AutoDelete, &m.Internal, &m.NoWait} {
		c.bit(b)
	}
	c.table(&m.Arguments)
}

func (*ExchangeDeclareOk) args(*coder) {}

func (m *ExchangeDelete) args(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Exchange)
	c.bit(&m.IfUnused)
	c.bit(&m.NoWait)
}

func (*ExchangeDeleteOk) args(*coder) {}

func (m *QueueDeclare) args(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	for _, b := range []*bool{&m.Passive, &m.Durable, &m.Exclusive, &m.AutoDelete, &m.NoWait} {
		c.bit(b)
	}
	c.table(&m.Arguments)
}

func (m *QueueDeclareOk) args(c *coder) {
	c.shortstr(&m.Queue)
	c.long(&m.MessageCount)
	c.long(&m.ConsumerCount)
}

func (m *QueueDelete) args(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.bit(&m.IfUnused)
	c.bit(&m.IfEmpty)
	c.bit(&m.NoWait)
}

func (m *QueueDeleteOk) args(c *coder) { c.long(&m.MessageCount) }

func (m *BasicQos) args(c *coder) {
	c.long(&m.PrefetchSize)
	c.short(&m.PrefetchCount)
	c.bit(&m.Global)
}

func (*BasicQosOk) args(*coder) {}

func (m *BasicConsume) args(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.shortstr(&m.ConsumerTag)
	for _, b := range []*bool{&m.NoLocal, &m.NoAck, &m.Exclusive, &m.NoWait} {
		c.bit(b)
	}
	c.table(&m.Arguments)
}

func (m *BasicConsumeOk) args(c *coder) { c.shortstr(&m.ConsumerTag) }

func (m *BasicCancel) args(c *coder) {
	c.shortstr(&m.ConsumerTag)
	c.bit(&m.NoWait)
}

func (m *BasicPublish) args(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
	c.bit(&m.Mandatory)
	c.bit(&m.Immediate)
}

func (m *BasicReturn) args(c *coder) {
	c.short(&m.Code)
	c.shortstr(&m.Text)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
}

func (m *BasicDeliver) args(c *coder) {
	c.shortstr(&m.ConsumerTag)
	c.longlong(&m.DeliveryTag)
	c.bit(&m.Redelivered)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
}

func (m *BasicGet) args(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.bit(&m.NoAck)
}

func (m *BasicGetOk) args(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.bit(&m.Redelivered)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
	c.long(&m.MessageCount)
}

func (*BasicGetEmpty) args(c *coder) { c.reservedStr() }

func (m *BasicAck) args(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.bit(&m.Multiple)
}

func (m *BasicReject) args(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.bit(&m.Requeue)
}

func (m *BasicNack) args(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.bit(&m.Multiple)
	c.bit(&m.Requeue)
}

func (m *ConfirmSelect) args(c *coder) { c.bit(&m.NoWait) }

func (*ConfirmSelectOk) args(*coder) {}
