package wire

import "time"

// Properties are the basic properties of a message.
type Properties struct {
	ContentType, ContentEncoding                string
	Headers                                     Table
	DeliveryMode, Priority                      uint8
	CorrelationID, ReplyTo, Expiration          string
	MessageID                                   string
	Timestamp                                   time.Time
	Type, UserID, AppID, reservedFormerlyClusID string
}

// Persistent is the delivery mode of a message that outlives the broker.
const Persistent = 2

// each calls f with every property in the order of the wire: whether it is
// set, and what codes it.
func (p *Properties) each(c *coder, f func(set bool, code func())) {
	str := func(s *string) { f(*s != "", func() { c.shortstr(s) }) }
	str(&p.ContentType)
	str(&p.ContentEncoding)
	f(p.Headers != nil, func() { c.table(&p.Headers) })
	f(p.DeliveryMode != 0, func() { c.octet(&p.DeliveryMode) })
	f(p.Priority != 0, func() { c.octet(&p.Priority) })
	str(&p.CorrelationID)
	str(&p.ReplyTo)
	str(&p.Expiration)
	str(&p.MessageID)
	f(!p.Timestamp.IsZero(), func() { c.timestamp(&p.Timestamp) })
	str(&p.Type)
	str(&p.UserID)
	str(&p.AppID)
	str(&p.reservedFormerlyClusID)
}

// Encode lays the properties out as they follow the size of the body.
func (p Properties) Encode() []byte {
	c := coder{encode: true}
	var flags, flag uint16 = 0, 1 << 15
	p.each(&c, func(set bool, _ func()) {
		if set {
			flags |= flag
		}
		flag >>= 1
	})
	c.short(&flags)
	p.each(&c, func(set bool, code func()) {
		if set {
			code()
		}
	})
	if c.err != nil {
		panic(c.err) // the broker's own words
	}
	return c.b
}

// ParseProperties is the inverse of Encode.
func ParseProperties(b []byte) (Properties, error) {
	var p Properties
	c := coder{b: b}
	var flags uint16
	c.short(&flags)
	if flags&1 != 0 {
		c.fail("more than 15 properties")
	}
	flag := uint16(1 << 15)
	p.each(&c, func(_ bool, code func()) {
		if flags&flag != 0 {
			code()
		}
		flag >>= 1
	})
	if c.err == nil && len(c.b) > 0 {
		c.fail("bytes behind the properties")
	}
	return p, c.err
}
