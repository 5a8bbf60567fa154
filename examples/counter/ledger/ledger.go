// Package ledger is the state of the counter: how many messages it has seen,
// and hash chains over them, by which a message that was lost, doubled or
// swapped shows. The judge computes the same chains from what was sent.
package ledger

import (
	"maps"
	"sync"
	"time"
)

// Ledger counts messages. It may be read while it is written.
type Ledger struct {
	mu        sync.Mutex
	count     uint64
	chain     Sum
	producers map[string]Producer
}

// Producer is what was counted of one producer.
type Producer struct {
	Count uint64 `json:"count"`
	Last  uint64 `json:"last"` // the number of its last message
	Chain Sum    `json:"chain"`
}

// Entry is the output that the counter publishes for a message.
type Entry struct {
	Producer string `json:"producer"`
	Seq      uint64 `json:"seq"`
	Count    uint64 `json:"count"` // the counter's, with this message
	Chain    Sum    `json:"chain"` // likewise
}

// MarkHeader is the header of an output that holds the State's Mark: which memory
// made it, where several counters put out to one queue.
const MarkHeader = "mark"

// State is what the counter serves over HTTP.
type State struct {
	Count     uint64              `json:"count"`
	Chain     Sum                 `json:"chain"`
	Producers map[string]Producer `json:"producers"`

	// Mark is drawn at random when the process starts and kept in memory alone:
	// the same mark is the same memory.
	Mark      string    `json:"mark"`
	StartedAt time.Time `json:"startedAt"`
	Hostname  string    `json:"hostname"`
	// Owner tells whether this process owns the state, Consumer where it stands
	// in a migration.
	Owner    bool   `json:"owner"`
	Consumer string `json:"consumer"`
	// Goroutines are those of the process: they move with the memory, and so would
	// any that a migration left behind.
	Goroutines int `json:"goroutines"`
}

// Count is what the counter answers its clients.
type Count struct {
	Count    uint64 `json:"count"`
	Hostname string `json:"hostname"` // of the pod that answered
	// Owner tells whether that process owned the state before it looked at it.
	Owner bool `json:"owner"`
}

// New makes an empty Ledger.
func New() *Ledger { return &Ledger{producers: make(map[string]Producer)} }

// Add counts a message. It neither knows nor refuses one that it has seen:
// what the ledger is given, it shows.
func (l *Ledger) Add(producer string, seq uint64, body []byte) Entry {
	sum := Body(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	l.chain = l.chain.Next(producer, seq, sum)
	p := l.producers[producer]
	l.producers[producer] = Producer{Count: p.Count + 1, Last: seq, Chain: p.Chain.Next(producer, seq, sum)}
	return Entry{Producer: producer, Seq: seq, Count: l.count, Chain: l.chain}
}

// Chain is the chain over every message.
func (l *Ledger) Chain() Sum {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain
}

// State is a copy of the ledger at this moment. What is not the ledger's is
// left empty.
func (l *Ledger) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{Count: l.count, Chain: l.chain, Producers: maps.Clone(l.producers)}
}
