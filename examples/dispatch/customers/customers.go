// Package customers is what the dispatch example hears from its customers, and the judge who
// computes again what should have come of it.
package customers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/dispatch/desk"
	"ms2m.dev/ms2m/examples/load"
)

// Queues are the names of the dispatch's queues.
type Queues struct {
	In                 map[desk.Kind]string
	Shipments, Journal string
}

// Named are the queues that belong together under a name.
func Named(name string) Queues {
	return Queues{
		In:        map[desk.Kind]string{desk.Order: name + ".orders", desk.Payment: name + ".payments", desk.Cancellation: name + ".cancellations"},
		Shipments: name + ".shipments", Journal: name + ".journal",
	}
}

// All are the names of all of them.
func (q Queues) All() []string {
	all := []string{q.Shipments, q.Journal}
	for _, kind := range desk.Kinds() {
		all = append(all, q.In[kind])
	}
	return all
}

// Order is the order that a customer's message of a kind and number is about. The nth order
// and the nth payment are about one order; every third order is cancelled some time.
func Order(kind desk.Kind, customer string, seq uint64) string {
	if kind == desk.Cancellation {
		seq *= 3
	}
	return ledger.MessageID(customer, seq)
}

// body is that message. Its message-id is the customer's name and its number, in every queue:
// an order and its payment have the same.
func body(kind desk.Kind) func(customer string, seq uint64) []byte {
	return func(customer string, seq uint64) []byte {
		text, _ := json.Marshal(desk.Message{Order: Order(kind, customer, seq)}) // a string: cannot fail
		return text
	}
}

// Load is what the customers send.
type Load struct{ generators map[desk.Kind]*load.Generator }

// Start begins to send, so many messages per second to all the queues together.
func Start(ctx context.Context, url string, q Queues, rate float64) *Load {
	shares := map[desk.Kind]float64{desk.Order: 3. / 7, desk.Payment: 3. / 7, desk.Cancellation: 1. / 7}
	l := &Load{generators: map[desk.Kind]*load.Generator{}}
	for kind, share := range shares {
		l.generators[kind] = load.Start(ctx, load.Config{
			URL: url, Queue: q.In[kind], Prefix: "customer", Producers: 2, Rate: rate * share, Body: body(kind)})
	}
	return l
}

// Sent is how many messages of each kind each customer has sent.
type Sent map[desk.Kind]map[string]uint64

// Total is the number of messages.
func (s Sent) Total() (n uint64) {
	for _, customers := range s {
		for _, sent := range customers {
			n += sent
		}
	}
	return n
}

// Finish stops sending, and waits until all of it is confirmed.
func (l *Load) Finish(ctx context.Context) (Sent, error) {
	sent := Sent{}
	var failed error
	for kind, g := range l.generators {
		of, err := g.Finish(ctx)
		failed = errors.Join(failed, err)
		sent[kind] = map[string]uint64{}
		for customer, bodies := range of {
			sent[kind][customer] = uint64(len(bodies))
		}
	}
	return sent, failed
}

// Stop ends the sending at once.
func (l *Load) Stop() {
	for _, g := range l.generators {
		g.Stop()
	}
}

// Received is an output as it was received.
type Received[T any] struct {
	ID   string // message-id, by which a repeated output is known
	What T
}

// Outputs takes the dispatch's outputs from their queues.
type Outputs struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu        sync.Mutex
	journal   []Received[desk.Entry]
	shipments []Received[desk.Shipment]
	err       error // of a message that is no output
}

// Collect begins to collect, until Close or the end of ctx.
func Collect(ctx context.Context, url string, q Queues) *Outputs {
	ctx, cancel := context.WithCancel(ctx)
	o := &Outputs{cancel: cancel}
	o.done.Go(func() { load.Consume(ctx, url, q.Journal, collector(o, &o.journal)) })
	o.done.Go(func() { load.Consume(ctx, url, q.Shipments, collector(o, &o.shipments)) })
	return o
}

func collector[T any](o *Outputs, to *[]Received[T]) func(amqp.Delivery) {
	seen := map[string]bool{}
	return func(d amqp.Delivery) {
		r := Received[T]{ID: d.MessageId}
		err := json.Unmarshal(d.Body, &r.What)
		o.mu.Lock()
		defer o.mu.Unlock()
		switch {
		case err != nil:
			o.err = fmt.Errorf("output %q: %w", d.MessageId, err)
		case d.Redelivered && seen[d.MessageId]:
			// Our own acknowledgement was lost, not the dispatch's fault.
		default:
			seen[d.MessageId] = true
			*to = append(*to, r)
		}
	}
}

// Count is how many messages have been done, as the journal tells.
func (o *Outputs) Count() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return uint64(len(o.journal))
}

// Close ends the collecting.
func (o *Outputs) Close() {
	o.cancel()
	o.done.Wait()
}
