// Package failpoint numbers what a process does to the outside, and lets the process
// die before, during or after any of it. Tests use it, and a manager that is built
// with the tag failpoints; the ordinary manager does not contain it.
package failpoint

import (
	"errors"
	"sync"
)

// Side is when the process dies: with regard to the effect that it has just then.
type Side string

// The sides. What a process that died During has begun may come to its end or not.
const (
	Before Side = "before"
	During Side = "during"
	After  Side = "after"
)

// Effect is something that the process does to the outside: a write to the API, or
// a call of the broker, of a kubelet or of a registry.
type Effect struct {
	N    int // from 1, in the order in which they begin
	Name string
	Side Side
}

// ErrDead is what a process that is dead is told: nothing of it gets through.
var ErrDead = errors.New("failpoint: this process is dead")

// Points are the failpoints of one process.
type Points struct {
	hit func(Effect) bool
	die func(Effect)

	mu   sync.Mutex
	n    int
	dead bool
}

// New makes the failpoints of a process. hit is asked on each side of each effect
// whether the process dies there, one question at a time; die ends the process, if it can.
func New(hit func(Effect) bool, die func(Effect)) *Points {
	return &Points{hit: hit, die: die}
}

// Kill lets nothing through from now on.
func (p *Points) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

// Do has an effect, or dies before, during or after it.
func (p *Points) Do(name string, effect func() error) error {
	e, dead := p.begin(name)
	if dead {
		return ErrDead
	}
	if e.Side = During; p.at(e) {
		go func() { _ = effect() }()
		p.die(e)
		return ErrDead
	}
	err := effect()
	if e.Side = After; p.at(e) {
		p.die(e)
		return ErrDead
	}
	return err
}

// begin numbers an effect, and reports whether the process does not come to have it.
func (p *Points) begin(name string) (e Effect, dead bool) {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return e, true
	}
	p.n++
	e = Effect{N: p.n, Name: name, Side: Before}
	p.mu.Unlock()
	if !p.at(e) {
		return e, false
	}
	p.die(e)
	return e, true
}

// at reports whether the process dies at a point. One that is dead already was not
// there: what it had under way has its end.
func (p *Points) at(e Effect) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || !p.hit(e) {
		return false
	}
	p.dead = true
	return true
}
