package simbroker

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// read reads once and tells what came of it, and when.
func read(p *pipe) (string, time.Duration, error) {
	began := time.Now()
	b := make([]byte, 16)
	n, err := p.Read(b)
	return string(b[:n]), time.Since(began), err
}

// TestPipeEnds: what a client sees of each way in which a connection ends.
func TestPipeEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*pipe)
		err    error
		writes bool          // writing seems to work afterwards
		after  time.Duration // until the reader knows
	}{
		"closed by the client":      {func(p *pipe) { _ = p.Close() }, net.ErrClosed, false, 0},
		"cut":                       {func(p *pipe) { p.breakClient(io.EOF) }, io.EOF, false, 0},
		"forgotten by the broker":   {(*pipe).forget, os.ErrDeadlineExceeded, true, 3 * time.Second},
		"nobody says anything more": {func(*pipe) {}, os.ErrDeadlineExceeded, true, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipe()
				defer func() { _ = p.Close() }()
				_ = p.SetReadDeadline(time.Now().Add(3 * time.Second))
				p.send([]byte("hello"))
				if got, _, err := read(p); got != "hello" || err != nil {
					t.Fatalf("read %q, %v", got, err)
				}
				go c.end(p)
				if got, after, err := read(p); got != "" || after != c.after || !errors.Is(err, c.err) {
					t.Errorf("read %q after %v, %v; want %v after %v", got, after, err, c.err, c.after)
				}
				if _, err := p.Write([]byte("x")); (err == nil) != c.writes {
					t.Errorf("write: %v", err)
				}
				sent, _ := p.take()
				if heard := len(sent) > 0; heard != (name == "nobody says anything more") {
					t.Errorf("the broker heard %q", sent)
				}
			})
		})
	}
}

func TestReadDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		_ = p.SetReadDeadline(time.Now().Add(time.Second))
		_ = p.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, after, err := read(p); after != 2*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %v: %v", after, err)
		}
		_ = p.SetReadDeadline(time.Time{})
		go func() { time.Sleep(time.Hour); p.send([]byte("x")) }()
		if got, _, err := read(p); got != "x" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
}
