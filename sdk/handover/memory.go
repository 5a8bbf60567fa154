package handover

import (
	"maps"
	"slices"
)

// memory remembers the identities of the messages last finished and how, so
// that a redelivery is settled again instead of applied again. It is part of
// the state and travels in the image. Each queue has its own: an identity may
// come from two, and a busy queue must not push out what a quiet one is yet to
// see again.
type memory struct {
	size   int // of each queue
	queues map[string]*remembered
}

// remembered is the memory of one queue.
type remembered struct {
	outcome map[string]Outcome
	ring    []string
	next    int
}

func newMemory(size int) *memory {
	return &memory{size: size, queues: map[string]*remembered{}}
}

func (m *memory) add(queue, identity string, o Outcome) {
	if identity == "" {
		return
	}
	r := m.queues[queue]
	if r == nil {
		r = &remembered{outcome: map[string]Outcome{}}
		m.queues[queue] = r
	}
	if _, known := r.outcome[identity]; known {
		r.outcome[identity] = o
		return
	}
	if len(r.ring) < m.size {
		r.ring = append(r.ring, identity)
	} else {
		delete(r.outcome, r.ring[r.next])
		r.ring[r.next] = identity
		r.next = (r.next + 1) % m.size
	}
	r.outcome[identity] = o
}

func (m *memory) find(queue, identity string) (Outcome, bool) {
	r := m.queues[queue]
	if r == nil || identity == "" {
		return "", false
	}
	o, ok := r.outcome[identity]
	return o, ok
}

func (m *memory) clone() *memory {
	c := newMemory(m.size)
	for queue, r := range m.queues {
		c.queues[queue] = &remembered{outcome: maps.Clone(r.outcome), ring: slices.Clone(r.ring), next: r.next}
	}
	return c
}
