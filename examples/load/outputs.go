package load

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// Output is an output of the counter as it was received.
type Output struct {
	ID   string // message-id, by which a consumer knows a repeated output
	Mark string // of the memory that made it
	ledger.Entry
	At time.Time
}

// Collector takes the counter's outputs from their queue.
type Collector struct {
	cancel context.CancelFunc
	done   chan struct{}
	bell   chan struct{} // rings when an output has come

	mu      sync.Mutex
	outputs []Output
	seen    map[string]bool
	err     error // of a message that is no output
}

// Collect begins to collect, until Close or the end of ctx.
func Collect(ctx context.Context, url, queue string) *Collector {
	ctx, cancel := context.WithCancel(ctx)
	c := &Collector{
		cancel: cancel, done: make(chan struct{}), bell: make(chan struct{}, 1), seen: make(map[string]bool),
	}
	go func() {
		defer close(c.done)
		Consume(ctx, url, queue, c.add)
	}()
	return c
}

// Close ends the collecting.
func (c *Collector) Close() {
	c.cancel()
	<-c.done
}

// Outputs are those received so far, in the order of the queue.
func (c *Collector) Outputs() ([]Output, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.outputs), c.err
}

// Count is the number of outputs received so far.
func (c *Collector) Count() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(len(c.outputs))
}

// Reach waits until at least n outputs have come.
func (c *Collector) Reach(ctx context.Context, n uint64) error {
	for c.Count() < n {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.bell:
		}
	}
	return nil
}

// Settle waits until at least n outputs have come to all the collectors together
// and no further one came for the time quiet; or until nothing at all came for
// the time patience: then what is missing is taken for lost.
func Settle[C interface{ Count() uint64 }](ctx context.Context, n uint64, quiet, patience time.Duration, collectors ...C) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	var last uint64
	for since := time.Now(); ; {
		var count uint64
		for _, c := range collectors {
			count += c.Count()
		}
		if count != last {
			last, since = count, time.Now()
		}
		if idle := time.Since(since); idle > patience || idle > quiet && count >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
	}
}

// Consume hands the messages of a queue to take, one after the other, over as many
// connections as it takes, until the end of ctx.
func Consume(ctx context.Context, url, queue string, take func(amqp.Delivery)) {
	for ctx.Err() == nil {
		if err := consume(ctx, url, queue, take); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// consume is Consume over one connection.
func consume(ctx context.Context, url, queue string, take func(amqp.Delivery)) error {
	conn, err := amqp.DialConfig(url, amqp.Config{
		Properties: amqp.Table{"connection_name": "collect " + queue},
		Dial:       amqp.DefaultDial(5 * time.Second),
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(1000, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for d := range deliveries {
		take(d)
		if err := d.Ack(false); err != nil {
			return err
		}
	}
	return amqp.ErrClosed
}

func (c *Collector) add(d amqp.Delivery) {
	o := Output{ID: d.MessageId, At: time.Now()}
	o.Mark, _ = d.Headers[ledger.MarkHeader].(string)
	err := json.Unmarshal(d.Body, &o.Entry)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.err = fmt.Errorf("output %q: %w", d.MessageId, err)
	case d.Redelivered && c.seen[d.MessageId]:
		// Our own acknowledgement was lost, not the counter's fault.
	default:
		c.seen[d.MessageId] = true
		c.outputs = append(c.outputs, o)
	}
	ring(c.bell)
}

// LongestGap is the longest time between two consecutive outputs, of those
// that came from the time since on: what a consumer of the counter notices of a
// migration.
func LongestGap(outputs []Output, since time.Time) time.Duration {
	var longest time.Duration
	for i := 1; i < len(outputs); i++ {
		if outputs[i].At.After(since) {
			longest = max(longest, outputs[i].At.Sub(outputs[i-1].At))
		}
	}
	return longest
}
