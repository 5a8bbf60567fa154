package handover

// memory remembers the identities of the messages last finished and how, so
// that a redelivery is settled again instead of applied again. It is part of
// the state and travels in the image.
type memory struct {
	size    int
	outcome map[string]Outcome
	ring    []string
	next    int
}

func newMemory(size int) *memory {
	return &memory{size: size, outcome: make(map[string]Outcome)}
}

func (m *memory) add(identity string, o Outcome) {
	if identity == "" {
		return
	}
	if _, known := m.outcome[identity]; known {
		m.outcome[identity] = o
		return
	}
	if len(m.ring) < m.size {
		m.ring = append(m.ring, identity)
	} else {
		delete(m.outcome, m.ring[m.next])
		m.ring[m.next] = identity
		m.next = (m.next + 1) % m.size
	}
	m.outcome[identity] = o
}

func (m *memory) find(identity string) (Outcome, bool) {
	o, ok := m.outcome[identity]
	return o, ok && identity != ""
}
