// Package desk is the state of the dispatch example: what is known of each order, and what
// comes of a message about it.
package desk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Kind is what a message is, which is told by the queue that it comes from.
type Kind string

// The kinds, one for each queue.
const (
	Order        Kind = "order"
	Payment      Kind = "payment"
	Cancellation Kind = "cancellation"
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Order, Payment, Cancellation} }

// Message is the body of a message of any kind.
type Message struct {
	Order string `json:"order"` // that it is about
}

// Result is what came of a message.
type Result string

// The results.
const (
	Noted     Result = "noted"     // something is still to come
	Shipped   Result = "shipped"   // ordered and paid: the order is sent
	Cancelled Result = "cancelled" // nothing will be sent
	Refunded  Result = "refunded"  // … and the money goes back
	TooLate   Result = "too late"  // it is sent already
)

// Desk knows the orders. What comes of a message depends on what came before it, from all
// queues together.
type Desk struct{ orders map[string]*order }

type order struct{ ordered, paid, cancelled, shipped bool }

// New makes a desk that knows nothing.
func New() *Desk { return &Desk{orders: map[string]*order{}} }

// Apply does what a message asks for.
func (d *Desk) Apply(kind Kind, id string) Result {
	o := d.orders[id]
	if o == nil {
		o = &order{}
		d.orders[id] = o
	}
	switch kind {
	case Order:
		o.ordered = true
	case Payment:
		o.paid = true
	case Cancellation:
		if o.shipped {
			return TooLate
		}
		o.cancelled = true
	}
	switch {
	case o.cancelled && o.paid && kind != Order:
		return Refunded
	case o.cancelled:
		return Cancelled
	case o.ordered && o.paid:
		o.shipped = true
		return Shipped
	}
	return Noted
}

// Counts are how many orders are in which state.
type Counts struct {
	Open      uint64 `json:"open"`    // ordered, not paid
	Prepaid   uint64 `json:"prepaid"` // paid, not ordered
	Shipped   uint64 `json:"shipped"`
	Cancelled uint64 `json:"cancelled"`
}

// Counts counts.
func (d *Desk) Counts() (c Counts) {
	for _, o := range d.orders {
		switch {
		case o.shipped:
			c.Shipped++
		case o.cancelled:
			c.Cancelled++
		case o.ordered:
			c.Open++
		case o.paid:
			c.Prepaid++
		}
	}
	return c
}

// Entry is what the desk writes into its journal for each message.
type Entry struct {
	Number uint64 `json:"number"` // of the message, in the order in which they were done
	Kind   Kind   `json:"kind"`
	ID     string `json:"id"` // its message-id, which another queue's message may have, too
	Order  string `json:"order"`
	Result Result `json:"result"`
	// Chain is a hash over this entry and the chain of the one before: two desks with
	// one chain have the same past.
	Chain string `json:"chain"`
}

// Next is the chain that follows from the one before.
func (e Entry) Next(chain string) string {
	e.Chain = chain
	text, _ := json.Marshal(e) // of strings and a number: cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Shipment is what goes to the warehouse.
type Shipment struct {
	Order string `json:"order"`
}

// State is what the desk serves over HTTP.
type State struct {
	Done  uint64 `json:"done"` // messages
	Chain string `json:"chain"`
	Counts

	// Mark is drawn at random when the process starts and kept in memory alone:
	// the same mark is the same memory.
	Mark     string `json:"mark"`
	Hostname string `json:"hostname"`
	Owner    bool   `json:"owner"` // whether this process owned the state before it looked at it
}
