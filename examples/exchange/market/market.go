// Package market is what trades at the exchange of the example, and the judge who computes
// every trade again.
package market

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/exchange/book"
	"ms2m.dev/ms2m/examples/load"
)

// Command is a trader's command of a number, the same whenever it is asked: prices
// around 1,000, and one in seven takes back one of the trader's twenty before.
func Command(trader string, seq uint64) book.Command {
	h := fnv.New64a()
	_, _ = h.Write([]byte(trader))
	r := rand.New(rand.NewPCG(h.Sum64(), seq))
	if r.IntN(7) == 0 && seq > 1 {
		back := 1 + r.Uint64N(min(20, seq-1))
		return book.Command{Cancel: ledger.MessageID(trader, seq-back)}
	}
	side := book.Buy
	if r.IntN(2) == 0 {
		side = book.Sell
	}
	return book.Command{Side: side, Price: 980 + r.Uint64N(41), Quantity: 1 + r.Uint64N(20)}
}

// Body is that command as a message.
func Body(trader string, seq uint64) []byte {
	text, _ := json.Marshal(Command(trader, seq)) // of strings and numbers: cannot fail
	return text
}

// Trade sends commands of several traders to the exchange.
func Trade(ctx context.Context, url, queue string, traders int, rate float64) *load.Generator {
	return load.Start(ctx, load.Config{URL: url, Queue: queue, Prefix: "trader", Producers: traders, Rate: rate, Body: Body})
}

// Received is a report as it was received.
type Received struct {
	ID string // message-id, by which a repeated report is known
	book.Report
}

// Collector takes the reports from their queue.
type Collector struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	reports []Received
	seen    map[string]bool
	err     error // of a message that is no report
}

// Collect begins to collect, until Close or the end of ctx.
func Collect(ctx context.Context, url, queue string) *Collector {
	ctx, cancel := context.WithCancel(ctx)
	c := &Collector{cancel: cancel, done: make(chan struct{}), seen: make(map[string]bool)}
	go func() {
		defer close(c.done)
		load.Consume(ctx, url, queue, c.add)
	}()
	return c
}

func (c *Collector) add(d amqp.Delivery) {
	r := Received{ID: d.MessageId}
	err := json.Unmarshal(d.Body, &r.Report)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.err = fmt.Errorf("report %q: %w", d.MessageId, err)
	case d.Redelivered && c.seen[d.MessageId]:
		// Our own acknowledgement was lost, not the exchange's fault.
	default:
		c.seen[d.MessageId] = true
		c.reports = append(c.reports, r)
	}
}

// Count is the number of reports received so far.
func (c *Collector) Count() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(len(c.reports))
}

// Reports are those received so far, in the order of the queue.
func (c *Collector) Reports() ([]Received, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reports), c.err
}

// Close ends the collecting.
func (c *Collector) Close() {
	c.cancel()
	<-c.done
}
