package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// simProcess is a process: the library and its application.
type simProcess struct {
	s    *sim
	name string
	pod  string
	c    *Consumer

	mu        sync.Mutex
	applied   []string            // the application's state: what was applied, in order,
	byKey     map[string][]string // with the results of side effects, of each key,
	tries     map[string]int      // and how often a message was given back
	handlings []*simHandling
	dials     []*simDial
	dropDial  bool // the next dial is of the past: see wake
	imaged    time.Time
	newcomer  bool // it began without the state of the one before it
	dead      bool
	cancel    context.CancelFunc
	done      chan error
	over      bool
}

// simHandling is a call of the handler that has not returned.
type simHandling struct {
	m    *Message
	goOn chan struct{}
}

type simDial struct {
	conn chan net.Conn
}

var (
	errRefused    = errors.New("connection refused")
	errDeadSocket = errors.New("read: connection reset by peer")
	errAgain      = errors.New("not now")
	errPoison     = errors.New("poison")
)

// fresh starts a process from its ordinary image.
func (s *sim) fresh(name, pod string) *simProcess {
	p := &simProcess{s: s, name: name, pod: pod, byKey: map[string][]string{}, tries: map[string]int{}}
	c, err := New(Config{URL: "amqp://guest:guest@broker/", Queues: s.queues, Prefetch: s.prefetch, Concurrency: s.concurrency, Key: simKey,
		Handler: p.handle, Digest: p.state, Dial: p.dial, Logger: slog.New(slog.DiscardHandler),
		Pod: PodInfo{UID: p.uid, Namespace: "test", Name: "service-0"}})
	if err != nil {
		panic(err)
	}
	c.cfg.jitter = func(d time.Duration) time.Duration { return d / 2 }
	if pod != simSourcePod {
		c.cfg.migration = simMigration
	}
	p.c = c
	s.procs = append(s.procs, p)
	p.start()
	return p
}

func simName(m *Message) string { return simSend{m.Queue, m.Identity()}.name() }

func simKey(m *Message) string {
	key, _, _ := strings.Cut(m.Identity(), "/")
	return key
}

// handle is the service's handler. It goes on when the driver says so. What it
// does depends on nothing but message and state.
func (p *simProcess) handle(_ context.Context, m *Message) error {
	h := &simHandling{m: m, goOn: make(chan struct{})}
	p.mu.Lock()
	p.handlings = append(p.handlings, h)
	p.mu.Unlock()
	<-h.goOn
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlings = slices.DeleteFunc(p.handlings, func(o *simHandling) bool { return o == h })
	id := simName(m)
	answer, err := m.Once("ask", func() ([]byte, error) {
		p.s.once++
		return fmt.Append(nil, p.s.once), nil
	})
	if err != nil {
		return err
	}
	if p.s.o.outcomes && strings.HasSuffix(id, "5") && p.tries[id] == 0 {
		p.tries[id]++
		return errAgain
	}
	p.applied = append(p.applied, id)
	p.byKey[simKey(m)] = append(p.byKey[simKey(m)], id+"="+string(answer))
	if p.s.rejects(id) {
		return Reject(errPoison)
	}
	m.Publish(Output{RoutingKey: simOut, Body: []byte(id)})
	return nil
}

func (s *sim) rejects(id string) bool { return s.o.outcomes && strings.HasSuffix(id, "3") }

// running are the handlers that run, in an order that does not depend on how
// their goroutines were scheduled.
func (p *simProcess) running() []*simHandling {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(slices.Values(p.handlings), func(a, b *simHandling) int { return strings.Compare(simName(a.m), simName(b.m)) })
}

func (p *simProcess) finish(h *simHandling) string {
	close(h.goOn)
	return p.name + " " + simName(h.m)
}

// state is a digest of the state, which does not depend on how keys mixed.
func (p *simProcess) state() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Append(nil, p.byKey, p.tries)
}

func (p *simProcess) uid() (string, error) { return p.pod, nil }

// dial waits until the driver lets the broker answer.
func (p *simProcess) dial(string, string) (net.Conn, error) {
	d := &simDial{conn: make(chan net.Conn)}
	p.mu.Lock()
	if p.dropDial || p.dead {
		p.dropDial = false
		p.mu.Unlock()
		return nil, errRefused
	}
	p.dials = append(p.dials, d)
	p.mu.Unlock()
	if c := <-d.conn; c != nil {
		return c, nil
	}
	return nil, errRefused
}

func (p *simProcess) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.dials)
}

// connect lets the broker accept what was dialled first, or refuse it.
func (p *simProcess) connect() string {
	p.mu.Lock()
	d := p.dials[0]
	p.dials = p.dials[1:]
	p.mu.Unlock()
	if p.s.refusals > 0 {
		p.s.refusals--
		d.conn <- nil
		return p.name + " refused"
	}
	client, conn := p.s.b.Accept(p.name)
	d.conn <- client
	conn.Handshake(p.s.wait)
	return conn.String()
}

// refuse refuses all that was dialled.
func (p *simProcess) refuse() bool {
	p.mu.Lock()
	dials := p.dials
	p.dials = nil
	p.mu.Unlock()
	for _, d := range dials {
		d.conn <- nil
	}
	return len(dials) > 0
}

func (p *simProcess) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan error, 1)
	go func() { p.done <- p.c.Run(ctx) }()
}

func (p *simProcess) stop() { p.cancel() }

func (p *simProcess) ended() bool {
	select {
	case err := <-p.done:
		p.over = true
		if err != nil {
			p.s.fail("%s ended: %v", p.name, err)
		}
	default:
	}
	return p.over
}

// crash ends the process: nothing that it does afterwards gets out. Its
// container may be started again in the same pod.
func (p *simProcess) crash(again bool) {
	p.dead = true
	for _, c := range p.s.b.Conns() {
		if c.Name == p.name {
			c.Cut()
		}
	}
	p.refuse()
	p.stop()
	if again {
		p.s.fresh(p.name+"'", p.pod).newcomer = true
	}
}

// image copies the process as a checkpoint does. Everything in it waits at this
// moment: for the broker, for the driver, for time.
func (p *simProcess) image(name, pod string) *simProcess {
	t := &simProcess{s: p.s, name: name, pod: pod, newcomer: p.newcomer, applied: slices.Clone(p.applied), byKey: map[string][]string{}, tries: maps.Clone(p.tries), imaged: time.Now()}
	for k, v := range p.byKey {
		t.byKey[k] = slices.Clone(v)
	}
	cfg := p.c.cfg
	cfg.Pod.UID, cfg.Handler, cfg.Digest, cfg.Dial = t.uid, t.handle, t.state, t.dial
	t.c = &Consumer{cfg: cfg, inbox: newInbox(), epoch: p.c.epoch, in: p.c.in.Clone()}
	t.c.in.SetDigest(t.state)
	t.c.others.of = maps.Clone(p.c.others.of)
	t.c.tell()
	if p.c.session != nil {
		// What is left of it in the copy: an object whose socket is dead, and
		// whose goroutines will say so.
		t.c.session = &session{cfg: cfg, inbox: t.c.inbox, ops: make(chan struct{}, 1), done: make(chan struct{}), closed: make(chan struct{})}
		t.c.session.once.Do(func() { close(t.c.session.closed) })
	}
	return t
}

// wake lets the copy run on. Its clock did not run meanwhile. Run begins with
// a dial, which the copied process had behind it if it had a connection: that
// dial fails, and is of no consequence as it belongs to no session.
func (p *simProcess) wake() {
	p.c.epoch = p.c.epoch.Add(time.Since(p.imaged))
	dead := p.c.session
	p.dropDial = dead != nil
	p.s.procs = append(p.s.procs, p)
	p.start()
	p.s.wait()
	if dead != nil {
		p.c.inbox.post(posted{session: dead, lost: errDeadSocket})
	}
}

// owner reports whether the process holds itself for the service's owner. A
// copy does until it has looked which pod it is in, at its first event; one
// that is cut off and taken over does until it is back.
func (p *simProcess) owner() bool {
	return !p.dead && (!p.s.m.lost || p != p.s.procs[0]) && p.c.Owner() && p.c.in.Status().PodUID == p.pod
}
