package main

import (
	"bytes"
	"io"
	"sync"
)

// prefixed writes whole lines, each with a prefix, so that those of several labs
// can be told from each other.
type prefixed struct {
	w      io.Writer
	prefix string
	mu     sync.Mutex
	rest   []byte
}

func newPrefixed(w io.Writer, prefix string) *prefixed { return &prefixed{w: w, prefix: prefix} }

// Write holds back what is not a whole line yet.
func (p *prefixed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, b...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		if err := p.line(line); err != nil {
			return 0, err
		}
		p.rest = bytes.Clone(rest)
	}
}

func (p *prefixed) line(line []byte) error {
	out := append([]byte(p.prefix), line...)
	_, err := p.w.Write(append(out, '\n'))
	return err
}

// flush writes what came without an end of line.
func (p *prefixed) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rest) > 0 {
		_ = p.line(p.rest)
		p.rest = nil
	}
}
