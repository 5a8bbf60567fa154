package simbroker

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipe is a network connection in memory. Its methods are those of the
// client's end; nobody waits at the broker's end, and writing never blocks.
type pipe struct {
	mu       sync.Mutex
	toClient []byte
	toBroker []byte
	closed   bool  // by the client
	broken   error // what the client gets, once its end is dead
	mute     bool  // the broker has forgotten the connection, unknown to the client
	expired  bool  // the read deadline has passed
	deadline *time.Timer
	wake     chan struct{}
}

func newPipe() *pipe { return &pipe{wake: make(chan struct{}, 1)} }

func (p *pipe) ring() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Read implements net.Conn; the client has one reader.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		if n, err := p.read(b); n > 0 || err != nil {
			return n, err
		}
		<-p.wake
	}
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case len(p.toClient) > 0:
		n := copy(b, p.toClient)
		p.toClient = p.toClient[n:]
		return n, nil
	case p.broken != nil:
		return 0, p.broken
	case p.expired:
		return 0, os.ErrDeadlineExceeded
	}
	return 0, nil
}

// Write implements net.Conn.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case p.broken != nil:
		return 0, io.ErrClosedPipe
	case !p.mute:
		p.toBroker = append(p.toBroker, b...)
	}
	return len(b), nil
}

// Close implements net.Conn.
func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.deadline != nil {
		p.deadline.Stop()
	}
	p.ring()
	return nil
}

// SetReadDeadline implements net.Conn.
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = false
	if p.deadline != nil {
		p.deadline.Stop()
	}
	if !t.IsZero() && !p.closed {
		p.deadline = time.AfterFunc(time.Until(t), p.expire)
	}
	return nil
}

func (p *pipe) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = true
	p.ring()
}

// SetDeadline implements net.Conn: writing never waits.
func (p *pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

type address string

func (a address) Network() string { return "simulated" }
func (a address) String() string  { return string(a) }

// LocalAddr implements net.Conn.
func (p *pipe) LocalAddr() net.Addr { return address("client") }

// RemoteAddr implements net.Conn.
func (p *pipe) RemoteAddr() net.Addr { return address("broker") }

// The broker's end.

// take returns what the client has written, and whether no more will come.
func (p *pipe) take() ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.toBroker
	p.toBroker = nil
	return b, p.closed || p.broken != nil
}

func (p *pipe) send(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.broken == nil && !p.mute {
		p.toClient = append(p.toClient, b...)
		p.ring()
	}
}

// breakClient makes the client's end dead.
func (p *pipe) breakClient(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
	p.ring()
}

// forget lets everything that the client still says go nowhere.
func (p *pipe) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}
