package wire

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// coder reads or writes arguments. Every method lists its arguments once, for
// both directions.
type coder struct {
	encode bool
	b      []byte // encoding: what is laid out; decoding: what is left
	bits   byte   // of the octet of bits under way
	nbits  int    // bits of it used, 0: none under way
	err    error
}

func (c *coder) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrSyntax, what)
	}
}

// take returns the next n bytes to decode, or nil with c.err set.
func (c *coder) take(n int) []byte {
	c.endBits()
	if c.err != nil || n < 0 || n > len(c.b) {
		c.fail("too short")
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *coder) put(b ...byte) {
	c.endBits()
	c.b = append(c.b, b...)
}

// bit is one of several bits that share octets.
func (c *coder) bit(v *bool) {
	if c.nbits == 8 {
		c.endBits()
	}
	if !c.encode {
		if c.nbits == 0 {
			b := c.take(1)
			if b == nil {
				return
			}
			c.bits = b[0]
		}
		*v = c.bits&(1<<c.nbits) != 0
	} else if *v {
		c.bits |= 1 << c.nbits
	}
	c.nbits++
}

func (c *coder) endBits() {
	if c.nbits > 0 && c.encode {
		c.b = append(c.b, c.bits)
	}
	c.bits, c.nbits = 0, 0
}

func (c *coder) octet(v *uint8) {
	if c.encode {
		c.put(*v)
	} else if b := c.take(1); b != nil {
		*v = b[0]
	}
}

func (c *coder) short(v *uint16) {
	if c.encode {
		c.put(binary.BigEndian.AppendUint16(nil, *v)...)
	} else if b := c.take(2); b != nil {
		*v = binary.BigEndian.Uint16(b)
	}
}

func (c *coder) long(v *uint32) {
	if c.encode {
		c.put(binary.BigEndian.AppendUint32(nil, *v)...)
	} else if b := c.take(4); b != nil {
		*v = binary.BigEndian.Uint32(b)
	}
}

func (c *coder) longlong(v *uint64) {
	if c.encode {
		c.put(binary.BigEndian.AppendUint64(nil, *v)...)
	} else if b := c.take(8); b != nil {
		*v = binary.BigEndian.Uint64(b)
	}
}

func (c *coder) shortstr(v *string) {
	if c.encode {
		if len(*v) > math.MaxUint8 {
			c.fail("short string too long")
			return
		}
		c.put(byte(len(*v)))
		c.put([]byte(*v)...)
		return
	}
	var n uint8
	c.octet(&n)
	*v = string(c.take(int(n)))
}

func (c *coder) longstr(v *string) {
	if c.encode {
		c.put(binary.BigEndian.AppendUint32(nil, uint32(len(*v)))...)
		c.put([]byte(*v)...)
		return
	}
	var n uint32
	c.long(&n)
	*v = string(c.take(int(n)))
}

func (c *coder) timestamp(v *time.Time) {
	n := uint64(v.Unix())
	c.longlong(&n)
	*v = time.Unix(int64(n), 0).UTC()
}

// Table is a field table. The simulated broker looks at strings, booleans and
// integers; values of other types are refused.
type Table map[string]any

func (c *coder) table(v *Table) {
	if c.encode {
		var in coder
		in.encode = true
		for _, k := range slices.Sorted(maps.Keys(*v)) {
			in.shortstr(&k)
			in.field((*v)[k])
		}
		s := string(in.b)
		c.longstr(&s)
		if in.err != nil {
			c.err = in.err
		}
		return
	}
	var s string
	c.longstr(&s)
	in := coder{b: []byte(s)}
	*v = nil
	for len(in.b) > 0 && in.err == nil {
		var k string
		in.shortstr(&k)
		if *v == nil {
			*v = Table{}
		}
		(*v)[k] = in.value()
	}
	if in.err != nil {
		c.err = in.err
	}
}

func (c *coder) field(v any) {
	switch v := v.(type) {
	case bool:
		b := byte(0)
		if v {
			b = 1
		}
		c.put('t', b)
	case int32:
		n := uint32(v)
		c.put('I')
		c.long(&n)
	case int64:
		n := uint64(v)
		c.put('l')
		c.longlong(&n)
	case string:
		c.put('S')
		c.longstr(&v)
	case Table:
		c.put('F')
		c.table(&v)
	default:
		c.fail(fmt.Sprintf("no field type for %T", v))
	}
}

func (c *coder) value() any {
	var kind uint8
	c.octet(&kind)
	switch kind {
	case 't':
		var b uint8
		c.octet(&b)
		return b != 0
	case 'I':
		var n uint32
		c.long(&n)
		return int32(n)
	case 'l':
		var n uint64
		c.longlong(&n)
		return int64(n)
	case 'S':
		var s string
		c.longstr(&s)
		return s
	case 'F':
		var t Table
		c.table(&t)
		return t
	}
	c.fail(fmt.Sprintf("field type %q", kind))
	return nil
}
