// Package load sends numbered messages to the counter from several producers,
// collects its outputs, and judges afterwards whether a message was lost,
// doubled or swapped, in the counter's memory or among its outputs.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// Config says what to send.
type Config struct {
	URL       string  // AMQP URL
	Queue     string  // the queue
	Prefix    string  // of the producers' names; default "p"
	Producers int     // each with a connection of its own; default 3
	Rate      float64 // messages per second, of all producers together
	Sizes     Sizes   // of the bodies; default 64 bytes each
	// Body makes a message's body, the same whenever it is asked. Default: noise of
	// the size that Sizes says.
	Body func(producer string, seq uint64) []byte
	// Exchange is one that is bound to the queue: every second producer publishes
	// to it, with its own name as the routing key, the others to the default
	// exchange. Empty: all to the default exchange.
	Exchange string
}

const (
	defaultProducers = 3
	defaultBodyBytes = 64
)

var errFinished = errors.New("the load generator has finished")

// Sent is what was sent and confirmed: by producer, the hash of each body, the
// message numbered n at index n-1.
type Sent map[string][]ledger.Sum

// Total is the number of messages.
func (s Sent) Total() uint64 {
	var n uint64
	for _, bodies := range s {
		n += uint64(len(bodies))
	}
	return n
}

// Generator sends messages: a message every 1/Rate seconds, by the producers in
// turn, whether or not the broker keeps up (what is late is sent when it does).
type Generator struct {
	cfg       Config
	producers []*producer
	ctx       context.Context // the life of the producers
	cancel    context.CancelCauseFunc
	unpace    context.CancelFunc
	paced     chan struct{} // closed when the pacing has ended
	running   sync.WaitGroup
	confirmed chan struct{} // rings when a message is confirmed

	mu   sync.Mutex
	turn int
}

// Start begins to send, until Finish or the end of ctx.
func Start(ctx context.Context, cfg Config) *Generator {
	if cfg.Producers == 0 {
		cfg.Producers = defaultProducers
	}
	if cfg.Sizes == (Sizes{}) {
		cfg.Sizes = Sizes{Min: defaultBodyBytes, Max: defaultBodyBytes}
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "p"
	}
	if cfg.Body == nil {
		cfg.Body = func(producer string, seq uint64) []byte { return body(producer, seq, cfg.Sizes.of(producer, seq)) }
	}
	ctx, cancel := context.WithCancelCause(ctx)
	pacing, unpace := context.WithCancel(ctx)
	g := &Generator{
		cfg: cfg, ctx: ctx, cancel: cancel, unpace: unpace,
		paced: make(chan struct{}), confirmed: make(chan struct{}, 1),
	}
	for i := range cfg.Producers {
		p := newProducer(cfg, fmt.Sprintf("%s%d", cfg.Prefix, i+1), func() { ring(g.confirmed) })
		if i%2 == 1 && cfg.Exchange != "" {
			p.exchange, p.key = cfg.Exchange, p.name
		}
		g.producers = append(g.producers, p)
		g.running.Go(func() {
			if err := p.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	go g.pace(pacing)
	return g
}

// pace asks for messages by the clock. It counts from the beginning, so that
// a late tick does not lower the rate.
func (g *Generator) pace(ctx context.Context) {
	defer close(g.paced)
	if g.cfg.Rate <= 0 {
		return
	}
	begin := time.Now()
	tick := time.NewTicker(time.Duration(max(float64(time.Millisecond), float64(time.Second)/g.cfg.Rate)))
	defer tick.Stop()
	for asked := 0; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			due := int(now.Sub(begin).Seconds() * g.cfg.Rate)
			g.Burst(due - asked)
			asked = max(asked, due)
		}
	}
}

// Burst sends n messages more, as fast as the broker takes them.
func (g *Generator) Burst(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range n {
		g.producers[g.turn].want(1)
		g.turn = (g.turn + 1) % len(g.producers)
	}
}

// Sent is what has been confirmed so far.
func (g *Generator) Sent() Sent {
	s := make(Sent, len(g.producers))
	for _, p := range g.producers {
		s[p.name] = p.sent()
	}
	return s
}

// Confirmed is the number of messages confirmed so far.
func (g *Generator) Confirmed() uint64 {
	var n uint64
	for _, p := range g.producers {
		n += p.confirmedSoFar()
	}
	return n
}

// Resent are the message-ids that were published more than once, since a
// connection was lost before their confirm. The broker may have them twice, and
// even out of order; only for these that is not the counter's doing.
func (g *Generator) Resent() []string {
	var ids []string
	for _, p := range g.producers {
		p.mu.Lock()
		for _, seq := range p.resent {
			ids = append(ids, ledger.MessageID(p.name, seq))
		}
		p.mu.Unlock()
	}
	return ids
}

// Reach waits until at least n messages are confirmed.
func (g *Generator) Reach(ctx context.Context, n uint64) error {
	for g.Confirmed() < n {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-g.ctx.Done():
			return context.Cause(g.ctx)
		case <-g.confirmed:
		}
	}
	return nil
}

// OnFailure calls f with the reason if sending fails for good, until stop.
func (g *Generator) OnFailure(f func(error)) (stop func() bool) {
	return context.AfterFunc(g.ctx, func() {
		if err := context.Cause(g.ctx); !errors.Is(err, errFinished) {
			f(err)
		}
	})
}

// Finish stops asking for messages, waits until all that were asked for are
// confirmed, and returns them. It fails if a producer failed or ctx ends
// before; then some may stand in the queue that are not in the result.
func (g *Generator) Finish(ctx context.Context) (Sent, error) {
	g.unpace()
	<-g.paced
	for _, p := range g.producers {
		p.finish()
	}
	stop := context.AfterFunc(ctx, func() { g.cancel(context.Cause(ctx)) })
	defer stop()
	g.running.Wait()
	err := context.Cause(g.ctx)
	g.cancel(errFinished)
	return g.Sent(), err
}

// Stop ends the sending at once.
func (g *Generator) Stop() {
	g.cancel(errFinished)
	<-g.paced
	g.running.Wait()
}
