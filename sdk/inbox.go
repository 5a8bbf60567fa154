package sdk

import (
	"sync"

	"ms2m.dev/ms2m/sdk/handover"
)

// inbox is the queue of what happened. It has no bound, so that nobody who
// posts ever waits for the loop: the reader of the connection must not, or
// loop and connection would wait for each other. What is in it is bounded by
// the prefetch and by what the broker confirms.
type inbox struct {
	mu    sync.Mutex
	items []posted
	bell  chan struct{}
}

// posted is an event of one session, or of none (session nil).
type posted struct {
	session *session
	event   handover.Event
	lost    error // the session has ended, with the reason
}

func newInbox() *inbox { return &inbox{bell: make(chan struct{}, 1)} }

func (b *inbox) post(p posted) {
	b.mu.Lock()
	b.items = append(b.items, p)
	b.mu.Unlock()
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

func (b *inbox) take() []posted {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = nil
	return items
}
