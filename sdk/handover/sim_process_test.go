package handover

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	simMigration = "m"
	simSource    = "pod-a"
)

// simProcess is a process: an instance and its application.
type simProcess struct {
	name    string
	pod     string
	in      *Instance
	applied []string       // the application's state
	tries   map[string]int // … and how often it gave a message back
	conn    *simConn
	running []*Item
	replays map[*Item]bool
	reports []Report
	away    int // how often it fails to connect
	dead    bool
	lost    bool // begun without the state of the one before it
	begun   time.Duration
}

type sim struct {
	b       *simBroker
	o       simOptions
	r       *rand.Rand
	now     time.Duration
	procs   []*simProcess
	gone    []*simProcess // copies that another was made after
	sent    []Command     // by managers
	cfg     Config
	cuts    int // connections lost
	crashes int
}

func newSim(r *rand.Rand, o simOptions) *sim {
	s := &sim{b: &simBroker{queues: []string{""}}, o: o, r: r, now: time.Second}
	if o.queues > 0 {
		s.b.queues = []string{"a:", "b:", "c:"}[:2+r.IntN(o.queues-1)]
	}
	for i := range 1 + r.IntN(12) {
		m := simMessage{id: fmt.Sprint("p-", i)}
		if o.keys > 0 {
			m.key = fmt.Sprint("k-", r.IntN(o.keys))
		}
		for _, m.queue = range s.b.into(o, r) {
			s.b.primary = append(s.b.primary, m)
			if o.twice && r.IntN(4) == 0 {
				s.b.primary = append(s.b.primary, m)
			}
		}
	}
	s.cfg = Config{Queue: "q", Prefetch: 1 + r.IntN(4), Identity: IdentityMessageID, Incarnation: "i"}
	if o.queues > 0 {
		s.cfg.Queue, s.cfg.Queues = "", s.b.queues
	}
	if o.keys > 0 {
		s.cfg.Concurrency = 1 + r.IntN(3)
	}
	s.start("source", simSource)
	return s
}

// into are the queues that a message goes into: an exchange may be bound to
// several, and the message has the same identity in each.
func (b *simBroker) into(o simOptions, r *rand.Rand) []string {
	if o.queues == 0 {
		return b.queues
	}
	return shuffled(b.queues, r)[:1+r.IntN(8)/7]
}

// start starts a fresh process.
func (s *sim) start(name, pod string) *simProcess {
	p := &simProcess{name: name, pod: pod, replays: map[*Item]bool{}, tries: map[string]int{}}
	cfg := s.cfg
	if cfg.Concurrency <= 1 {
		cfg.Digest = p.digest
	}
	p.in = New(cfg)
	s.procs = append(s.procs, p)
	s.step(p, Looked{Pod: pod})
	return p
}

func (p *simProcess) digest() []byte { return []byte(strings.Join(p.applied, ",")) }

// copy is the image of a process, to wake in another pod.
func (p *simProcess) copy(pod string) *simProcess {
	t := &simProcess{name: "target", pod: pod, in: p.in.Clone(), applied: slices.Clone(p.applied), replays: map[*Item]bool{}, tries: map[string]int{}}
	for id, n := range p.tries {
		t.tries[id] = n
	}
	for _, it := range t.in.running {
		t.running = append(t.running, it)
		t.replays[it] = p.in.State() == Replaying
	}
	if t.in.cfg.Digest != nil {
		t.in.SetDigest(t.digest)
	}
	return t
}

// step tells a process an event and queues what it answers.
func (s *sim) step(p *simProcess, ev Event) {
	if p.dead {
		return
	}
	if _, lost := ev.(Disconnected); lost || p.in.State() == Paused {
		s.perform(p, p.in.Step(s.now, Looked{Pod: p.pod}))
	}
	s.perform(p, p.in.Step(s.now, ev))
}

func (s *sim) perform(p *simProcess, effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Begin:
			if pace := p.in.paced(); s.now < p.begun+pace {
				s.b.fault = fmt.Sprintf("%s begins a message %v after another, at a pace of %v", p.name, s.now-p.begun, pace)
			}
			p.begun = s.now
			p.running = append(p.running, e.Item)
		case Replay:
			p.running = append(p.running, e.Item)
			p.replays[e.Item] = true
		default:
			if p.conn != nil {
				p.conn.todo = append(p.conn.todo, e)
			}
		}
	}
}

// finish lets one of the handlers return. Some messages are rejected, some are
// given back the first time: both depend on nothing but message and state.
func (s *sim) finish(p *simProcess) {
	i := s.r.IntN(len(p.running))
	it := p.running[i]
	p.running = slices.Delete(p.running, i, i+1)
	id := it.Payload.(simMessage).name()
	outcome := Done
	switch {
	case s.o.outcomes && strings.HasSuffix(id, "3"):
		outcome = Rejected
	case s.o.outcomes && strings.HasSuffix(id, "5") && p.tries[id] == 0:
		outcome = Requeued
		p.tries[id]++
	}
	if outcome != Requeued {
		p.applied = append(p.applied, id)
	}
	s.step(p, Handled{Item: it, Outcome: outcome})
}

// connect dials: the control queue is taken, then what stands at the broker is
// read, and is told some time later.
func (s *sim) connect(p *simProcess) {
	if s.b.controls(p.pod) != nil {
		return
	}
	ev := Connected{Pod: p.pod}
	if p.in.Begun() {
		ev.Decision = s.b.decision
	} else {
		ev.Hold = s.b.view(p.pod)
	}
	p.conn = s.b.open(p)
	p.conn.control = []string{p.pod}
	p.conn.inbox = []Event{ev}
}

// cut loses the connection: what it had not carried out is void, what it held
// goes back, and what the broker had told is forgotten. Half-open, the broker
// keeps it for a while.
func (s *sim) cut(p *simProcess, half bool) {
	c := p.conn
	p.conn = nil
	if half {
		c.half = true
	} else {
		s.b.drop(c)
	}
	p.away = s.r.IntN(1 + s.r.IntN(20))
	s.step(p, Disconnected{})
}

// carry carries out one effect of a connection.
func (s *sim) carry(c *simConn) {
	if !s.b.carry(c) {
		return
	}
	if c.half {
		s.b.drop(c)
		return
	}
	s.cut(c.p, false)
}

// crash ends a process. Its container is started again, from its ordinary
// image, in the same pod.
func (s *sim) crash(p *simProcess, half, restart bool) {
	if p.conn != nil {
		s.cut(p, half)
	}
	p.dead = true
	if restart {
		s.start(p.name+"'", p.pod).lost = true
	}
}

// in is the process that lives in a pod.
func (s *sim) in(pod string) *simProcess {
	for _, p := range s.procs {
		if p.pod == pod && !p.dead {
			return p
		}
	}
	return nil
}

func (s *sim) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "decision=%q ready=%d replay=%d", s.b.decision, len(s.b.primary), len(s.b.replay))
	for _, p := range s.procs {
		if p.dead {
			fmt.Fprintf(&b, " | %s dead", p.name)
			continue
		}
		fmt.Fprintf(&b, " | %s %s n=%d applied=%d connected=%v", p.name, p.in.State(), p.in.Number(), len(p.applied), p.conn != nil)
	}
	return b.String()
}
