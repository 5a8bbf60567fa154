package load

import (
	"context"
	"slices"
	"time"
)

// Hold lets the producers keep what becomes due, until Release, and waits until
// all that they have sent is confirmed.
func (g *Generator) Hold(ctx context.Context) error {
	g.hold(true)
	for !g.idle() {
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

// Release lets the producers send what they have kept.
func (g *Generator) Release() { g.hold(false) }

func (g *Generator) hold(held bool) {
	for _, p := range g.producers {
		p.mu.Lock()
		p.held, p.idle = held, false
		p.mu.Unlock()
		ring(p.bell)
	}
}

func (g *Generator) idle() bool {
	for _, p := range g.producers {
		p.mu.Lock()
		idle := p.idle
		p.mu.Unlock()
		if !idle {
			return false
		}
	}
	return true
}

// Again sends everything that was confirmed once more, each producer's messages
// in their order, and waits until that is confirmed. The generator must be held:
// else what is new would come between what is old.
func (g *Generator) Again(ctx context.Context) error {
	cfg := g.cfg
	cfg.Rate = 0
	again := Start(ctx, cfg)
	for i, p := range g.producers {
		again.producers[i].want(p.confirmedSoFar())
	}
	_, err := again.Finish(ctx)
	return err
}

// Due is when each message was due, by producer: number n at index n-1. A message
// that was sent late, because the broker did not keep up or the producers were
// held, was due when the rate says so.
func (g *Generator) Due() map[string][]time.Time {
	due := make(map[string][]time.Time, len(g.producers))
	for _, p := range g.producers {
		p.mu.Lock()
		due[p.name] = slices.Clone(p.due)
		p.mu.Unlock()
	}
	return due
}
