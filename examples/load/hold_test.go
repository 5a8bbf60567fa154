package load

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestHeld: a producer that is held wants to send nothing, is idle when nothing is on
// its way, and what becomes due meanwhile keeps its time.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProducer(Config{Queue: "q"}, "p1", func() {})
		g := &Generator{producers: []*producer{p}, ctx: t.Context(), confirmed: make(chan struct{}, 1)}
		p.onConfirmed = func() { ring(g.confirmed) }
		first := time.Now()
		p.want(1)
		p.pending = []pending{{seq: 1}} // sent, not confirmed

		held := make(chan error, 1)
		go func() { held <- g.Hold(t.Context()) }()
		synctest.Wait()
		if _, _, _ = p.next(); len(held) != 0 {
			t.Error("held while a message is on its way")
		}
		p.pending, p.bodies = nil, append(p.bodies, [32]byte{})
		if _, wanted, _ := p.next(); wanted {
			t.Error("more is wanted of a producer that is held")
		}
		if err := <-held; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.want(2)
		if seq, wanted, _ := p.next(); wanted || seq != 2 {
			t.Errorf("message %d is wanted: %t", seq, wanted)
		}
		time.Sleep(time.Second)
		g.Release()
		if seq, wanted, _ := p.next(); !wanted || seq != 2 {
			t.Errorf("after the release message %d is wanted: %t", seq, wanted)
		}
		due := g.Due()["p1"]
		if len(due) != 3 || !due[0].Equal(first) || !due[1].Equal(first.Add(time.Second)) || !due[2].Equal(due[1]) {
			t.Errorf("due at %v, began at %v", due, first)
		}
	})
}

func TestHoldGivesUp(t *testing.T) {
	p := newProducer(Config{Queue: "q"}, "p1", func() {})
	g := &Generator{producers: []*producer{p}, ctx: t.Context(), confirmed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if err := g.Hold(ctx); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
