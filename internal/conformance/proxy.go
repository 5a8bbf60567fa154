package conformance

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
)

// Verdict is what becomes of a method on its way.
type Verdict int

// The verdicts.
const (
	Pass Verdict = iota
	Hold         // it and all that follows on its channel, in its direction, until Release
	Cut          // the connection, before the method
)

// Proxy stands between the implementation and the broker. It notes every
// method that passes, and can hold methods back and cut connections, as a
// network does. It speaks AMQP without TLS.
type Proxy struct {
	listener net.Listener
	broker   string

	mu     sync.Mutex
	grew   chan struct{} // closed and renewed when a frame is noted
	frames []Frame
	conns  map[int]*relay
	count  int
	judge  func(Frame) Verdict // called with the lock held
	refuse bool
}

// relay is one connection, both ways.
type relay struct {
	id             int
	client, broker *side
}

// side is one end of a connection, to which frames go.
type side struct {
	net.Conn
	mu      sync.Mutex
	held    map[uint16][]rawFrame
	pending map[uint16]*content // whose header or bodies are still to come
}

// content is a method whose content is not complete.
type content struct {
	frame Frame
	left  uint64
	sized bool
}

// NewProxy listens on a free port of the loopback.
func NewProxy(broker string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, broker: broker, grew: make(chan struct{}), conns: map[int]*relay{}}
	go p.serve()
	return p, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends it and every connection.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Refuse(true)
	p.Cut()
}

// Cut breaks every connection.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.conns {
		r.cut()
	}
}

// Refuse makes it break new connections at once, or no more.
func (p *Proxy) Refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = yes
}

// Judge decides about every method from now on; nil: all pass.
func (p *Proxy) Judge(f func(Frame) Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge = f
}

// Release lets pass what was held, in order, and everything from now on.
func (p *Proxy) Release() {
	p.mu.Lock()
	p.judge = nil
	relays := slices.Collect(maps.Values(p.conns))
	p.mu.Unlock()
	for _, r := range relays {
		r.client.release()
		r.broker.release()
	}
}

// release sends what was held. What comes meanwhile waits for the lock.
func (s *side) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch, frames := range s.held {
		delete(s.held, ch)
		for _, f := range frames {
			_, _ = s.Write(f.bytes) // a connection that is gone shows to its readers
		}
	}
}

// Frames are those noted so far, after the first n.
func (p *Proxy) Frames(n int) []Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames[n:]
}

// Len is how many frames were noted.
func (p *Proxy) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.frames)
}

// watch gives the frames after the first n, and a channel that is closed when there are more.
func (p *Proxy) watch(n int) ([]Frame, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames[n:], p.grew
}

func (p *Proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			_ = c.Close()
			continue
		}
		b, err := net.Dial("tcp", p.broker)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.open(c, b)
	}
}

func (p *Proxy) open(c, b net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	r := &relay{id: p.count, client: newSide(c), broker: newSide(b)}
	p.conns[r.id] = r
	go p.pump(r, r.client, r.broker, true)
	go p.pump(r, r.broker, r.client, false)
}

func newSide(c net.Conn) *side {
	return &side{Conn: c, held: map[uint16][]rawFrame{}, pending: map[uint16]*content{}}
}

func (r *relay) cut() {
	_ = r.client.Close()
	_ = r.broker.Close()
}

// pump carries frames one way until the connection ends.
func (p *Proxy) pump(r *relay, from, to *side, toBroker bool) {
	defer func() {
		r.cut()
		p.mu.Lock()
		delete(p.conns, r.id)
		p.mu.Unlock()
	}()
	in := bufio.NewReaderSize(from, 64<<10)
	if toBroker {
		hello := make([]byte, 8) // the protocol header
		if _, err := io.ReadFull(in, hello); err != nil {
			return
		}
		if _, err := to.Write(hello); err != nil {
			return
		}
	}
	for {
		f, err := readFrame(in)
		if err != nil {
			return
		}
		if err := p.pass(r, to, f, toBroker); err != nil {
			return
		}
	}
}

var errCut = errors.New("cut")

// pass notes a frame and sends it on, unless it is to be held.
func (p *Proxy) pass(r *relay, to *side, f rawFrame, toBroker bool) error {
	to.mu.Lock()
	defer to.mu.Unlock()
	if p.note(r.id, to, f, toBroker) == Cut {
		r.cut()
		return errCut
	}
	if _, holding := to.held[f.channel]; holding {
		to.held[f.channel] = append(to.held[f.channel], f)
		return nil
	}
	_, err := to.Write(f.bytes)
	return err
}

// note notes a method when its content is complete, and judges it when it begins.
func (p *Proxy) note(conn int, to *side, f rawFrame, toBroker bool) Verdict {
	switch f.kind {
	case frameMethod:
		m := parseMethod(f.payload())
		m.Conn, m.ToBroker, m.Channel = conn, toBroker, f.channel
		p.mu.Lock()
		v := Pass
		if p.judge != nil {
			v = p.judge(m)
		}
		p.mu.Unlock()
		if v == Cut {
			return v
		}
		if _, holding := to.held[f.channel]; v == Hold && !holding {
			to.held[f.channel] = nil
		}
		if m.Method.hasContent() {
			to.pending[f.channel] = &content{frame: m}
		} else {
			p.add(m)
		}
	case frameHeader:
		if c := to.pending[f.channel]; c != nil {
			c.left, c.sized = c.frame.parseHeader(f.payload()), true
			p.complete(to, f.channel, c)
		}
	case frameBody:
		if c := to.pending[f.channel]; c != nil {
			b := f.payload()
			c.frame.Body = append(c.frame.Body, b...)
			c.left -= min(c.left, uint64(len(b)))
			p.complete(to, f.channel, c)
		}
	}
	return Pass
}

func (p *Proxy) complete(to *side, ch uint16, c *content) {
	if c.sized && c.left == 0 {
		delete(to.pending, ch)
		p.add(c.frame)
	}
}

func (p *Proxy) add(f Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames = append(p.frames, f)
	close(p.grew)
	p.grew = make(chan struct{})
}
