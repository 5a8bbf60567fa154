package sdk

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

// Consumer consumes the queues of a service and takes part in its migrations.
type Consumer struct {
	cfg   Config
	inbox *inbox
	epoch time.Time // of the instance's clock: monotonic, goes on in a restored process
	// standing is where the instance stands, for other goroutines.
	standing atomic.Pointer[standing]
	others   others

	// of the loop alone
	in      *handover.Instance
	session *session
	began   time.Time // of the session
}

type standing struct {
	place
	changed chan struct{} // closed when another standing has taken its place
}

type place struct {
	state handover.State
	owner bool
	home  string
	pod   string
}

// New makes a Consumer. It does not connect yet.
func New(cfg Config) (*Consumer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	identity := handover.IdentityMessageID
	if cfg.IdentityHeader != "" {
		identity = handover.IdentityHeader
	}
	var several []string
	if len(cfg.Queues) > 1 {
		several = cfg.Queues
	}
	c := &Consumer{
		cfg:   cfg,
		inbox: newInbox(),
		epoch: time.Now(),
		in: handover.New(handover.Config{
			Queue: cfg.Queue, Queues: several, Prefetch: cfg.Prefetch, Remember: cfg.Remember, Concurrency: cfg.Concurrency, Incarnation: rand.Text(),
			Identity: identity, OwnerOnly: cfg.OwnerOnly, Digest: cfg.Digest,
		}),
	}
	if pod, err := cfg.Pod.UID(); err == nil {
		// At once, so that an image of a process that has never connected wakes
		// as a copy, too.
		c.in.Step(c.now(), handover.Looked{Pod: pod})
	}
	c.tell()
	return c, nil
}

// State is where this instance stands in a migration; Live in ordinary times.
func (c *Consumer) State() handover.State { return c.standing.Load().state }

// Owner reports whether this process owns the service's state: whether what it
// holds in memory is the present truth. It is false in a copy that is not live
// yet and in a source that waits for the copy to take over. (A process that is
// cut off from the broker and taken over as dead cannot know.)
func (c *Consumer) Owner() bool {
	s := c.standing.Load()
	if s.owner && s.state == handover.Paused {
		// The state in which images are taken: this may be a copy that runs
		// again and has not been told so.
		pod, err := c.cfg.Pod.UID()
		return err != nil && s.pod == "" || err == nil && pod == s.pod
	}
	return s.owner
}

// Home is the address (an IP) of the pod in which the state lives while this process
// does not own it: of the source, for a copy that is not live yet, and of the copy, for
// a source that has retired. Empty if this process owns it, or was not told.
func (c *Consumer) Home() string { return c.standing.Load().home }

// Changed is closed at the next change of State, Owner or Home. Ask for it
// before them, so that no change is missed.
func (c *Consumer) Changed() <-chan struct{} { return c.standing.Load().changed }

// Run consumes until ctx ends, over any number of connections. When ctx ends it
// finishes what is in hand, bounded by Config.ShutdownGrace, and returns nil.
func (c *Consumer) Run(ctx context.Context) error {
	dials := &dialer{cfg: c.cfg, inbox: c.inbox}
	dials.begin(ctx, c.in)
	defer c.close(dials)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stop := ctx.Done()
	var grace <-chan time.Time
	for {
		timer.Reset(c.untilWake())
		select {
		case <-c.inbox.bell:
			for _, p := range c.inbox.take() {
				c.handle(ctx, p, dials)
			}
		case <-timer.C:
			c.step(handover.Tick{})
		case <-stop:
			stop = nil
			grace = time.After(c.cfg.ShutdownGrace)
			c.step(handover.Stopping{})
		case <-grace:
			return nil
		}
		if stop == nil && (c.session == nil || c.in.InHand() == 0) {
			return nil
		}
	}
}

// close ends the session, and one that was made too late to be used.
func (c *Consumer) close(dials *dialer) {
	if c.session != nil {
		c.session.finish(c.cfg.ShutdownGrace)
	}
	dials.wait()
	for _, p := range c.inbox.take() {
		if _, ok := p.event.(handover.Connected); ok {
			p.session.end(context.Canceled)
		}
	}
}

// handle takes one thing that was posted. What belongs to a session that is
// not the present one is of the past: its delivery tags mean nothing now.
func (c *Consumer) handle(ctx context.Context, p posted, dials *dialer) {
	switch ev := p.event.(type) {
	case nil: // a session has ended, or could not be made
		if p.session == c.session {
			if c.session != nil {
				c.session = nil
				dials.ended(c.began)
				c.step(handover.Disconnected{})
			}
			c.cfg.Logger.Warn("ms2m: no connection to the broker", "error", p.lost, "state", c.in.State())
			dials.begin(ctx, c.in)
		}
	case handover.Connected:
		c.session, c.began = p.session, time.Now()
		c.session.start()
		c.step(ev)
	case handover.Handled:
		c.step(ev)
	default:
		if p.session == c.session {
			c.step(ev)
		}
	}
}

// step tells the instance an event and does what it answers.
func (c *Consumer) step(ev handover.Event) {
	if _, lost := ev.(handover.Disconnected); lost || c.in.State() == handover.Paused {
		// A good copy wakes Paused, and any copy finds its connection dead: look before anything acts.
		if pod, err := c.cfg.Pod.UID(); err == nil {
			c.perform(c.in.Step(c.now(), handover.Looked{Pod: pod}))
		}
	}
	before := c.in.State()
	c.perform(c.in.Step(c.now(), ev))
	if after := c.in.State(); after != before {
		c.cfg.Logger.Info("ms2m: state", "from", before, "to", after, "number", c.in.Number(), "migration", c.in.Status().Migration)
	}
	c.tell()
}

// tell makes known to other goroutines where the instance stands.
func (c *Consumer) tell() {
	s := &standing{
		place:   place{state: c.in.State(), owner: c.in.Owner(), home: c.in.Home(), pod: c.in.Pod()},
		changed: make(chan struct{}),
	}
	switch before := c.standing.Load(); {
	case before == nil:
		c.standing.Store(s)
	case before.place != s.place:
		c.standing.Store(s)
		close(before.changed)
	}
}

func (c *Consumer) now() time.Duration { return time.Since(c.epoch) }

func (c *Consumer) untilWake() time.Duration {
	if at, ok := c.in.Wake(); ok {
		return max(0, at-c.now())
	}
	return time.Hour
}

// perform carries effects out. Those on a connection are queued to it; if it
// is gone meanwhile, they are void with it.
func (c *Consumer) perform(effects []handover.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case handover.Begin:
			c.run(e.Item)
		case handover.Replay:
			c.run(e.Item)
		default:
			if s := c.session; s != nil {
				s.do(func() error { return c.onSession(s, e) })
			}
		}
	}
}

// run runs the handler on an item, away from the loop.
func (c *Consumer) run(it *handover.Item) {
	go func() {
		m := it.Payload.(*Message)
		err := c.cfg.Handler(context.Background(), m)
		if err != nil && !m.replayed {
			c.cfg.Logger.Warn("ms2m: handler", "identity", m.identity, "error", err)
		}
		c.inbox.post(posted{event: handover.Handled{Item: it, Outcome: m.outcome(err)}})
	}()
}

// onSession carries one effect out on a connection.
func (c *Consumer) onSession(s *session, e handover.Effect) error {
	switch e := e.(type) {
	case handover.Consume:
		if e.Ceded {
			c.others.forget() // what the image says of them is of another time
		}
		return s.consume(&c.others)
	case handover.Release:
		return s.release(&c.others)
	case handover.ConsumeReplay:
		return s.consumeReplay(e.Queue)
	case handover.Credit:
		return s.replay.Ack(e.Tag, true)
	case handover.StopReplay:
		return s.stopReplay()
	case handover.PublishOutputs:
		return s.outputs(e.Item, c.in.Lineage())
	case handover.PublishEntry:
		m := e.Item.Payload.(*Message)
		return s.entry(handover.EntryConfirmed{Item: e.Item}, e.Queue, m.entry(e.Item), m.Body)
	case handover.PublishEnd:
		return s.entry(handover.EndConfirmed{Migration: e.Migration}, e.Queue, handover.EntryHeader{
			Kind: handover.EntryEnd, Number: e.Number, Digest: e.Digest, Released: e.Released, Takeover: e.Takeover}, nil)
	case handover.Fence:
		return s.takeFence(e.Pod)
	case handover.Unfence:
		return s.dropFence()
	case handover.Settle:
		return s.settle(e)
	case handover.WriteDecision:
		return s.decide(e.Migration, e.Decision)
	case handover.ReadDecision:
		return s.decide(e.Migration, handover.Undecided)
	case handover.ReadHold:
		return s.readHold(c.cfg)
	case handover.Send:
		return s.report(e)
	case handover.Drop:
		return errDropped
	}
	panic(fmt.Sprintf("sdk: no way to do %T", e))
}
