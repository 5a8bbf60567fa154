package handover

import (
	"fmt"
	"slices"
	"time"
)

// This file simulates a broker as RabbitMQ behaves: what a connection that is
// lost held unacknowledged goes back to the front of its queue, in order;
// publishings of one connection keep their order; confirms may be lost.

type simMessage struct{ id string }

type simEntry struct {
	h EntryHeader
	m simMessage
}

type simBroker struct {
	primary  []simMessage
	unacked  map[*simConn][]simDelivery
	replay   []simEntry
	gone     bool // the replay queue was removed
	decision Decision
	decided  int // decisions that took effect; more than one is a fault
	outputs  []string
}

type simDelivery struct {
	tag uint64
	m   simMessage
}

// simConn is one connection of a process.
type simConn struct {
	todo      []Effect // queued, not carried out
	inbox     []Event  // from the broker, not told
	consuming bool
	reading   bool
	read      int // entries of the replay queue delivered
	nextTag   uint64
}

// simProcess is a process: an instance and its application.
type simProcess struct {
	name    string
	pod     string
	in      *Instance
	applied []string // the application's state
	conn    *simConn
	running *Item
	replays bool
	reports []Report
	dead    bool
}

type sim struct {
	b     *simBroker
	now   time.Duration
	procs []*simProcess
	lost  int // connections lost
	fault string
}

// step tells a process an event and queues what it answers.
func (s *sim) step(p *simProcess, ev Event) {
	if p.dead {
		return
	}
	if p.in.State() == Paused {
		s.perform(p, p.in.Step(s.now, Looked{Pod: p.pod}))
	}
	s.perform(p, p.in.Step(s.now, ev))
}

func (s *sim) perform(p *simProcess, effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Begin:
			p.running, p.replays = e.Item, false
		case Replay:
			p.running, p.replays = e.Item, true
		default:
			if p.conn != nil {
				p.conn.todo = append(p.conn.todo, e)
			}
		}
	}
}

// finish lets the handler return.
func (s *sim) finish(p *simProcess) {
	it := p.running
	p.running = nil
	p.applied = append(p.applied, it.Payload.(simMessage).id)
	s.step(p, Handled{Item: it, Outcome: Done})
}

func (s *sim) connect(p *simProcess) {
	c := &simConn{}
	p.conn = c
	s.step(p, Connected{Pod: p.pod, Decision: s.b.decision})
}

// cut loses the connection: what it had not carried out is void, what it held
// goes back, and what the broker had told is forgotten.
func (s *sim) cut(p *simProcess) {
	c := p.conn
	p.conn = nil
	s.b.giveBack(c)
	s.step(p, Disconnected{})
}

// giveBack puts what a connection holds back to the front of the queue.
func (b *simBroker) giveBack(c *simConn) {
	var back []simMessage
	for _, d := range b.unacked[c] {
		back = append(back, d.m)
	}
	delete(b.unacked, c)
	b.primary = append(back, b.primary...)
}

// carry carries the next effect of a connection out.
func (s *sim) carry(p *simProcess) {
	c, b := p.conn, s.b
	e := c.todo[0]
	c.todo = c.todo[1:]
	tell := func(ev Event) { c.inbox = append(c.inbox, ev) }
	switch e := e.(type) {
	case Consume:
		c.consuming = true
	case Release:
		c.consuming = false
		c.inbox = slices.DeleteFunc(c.inbox, func(ev Event) bool { _, is := ev.(Delivered); return is })
		b.giveBack(c)
		tell(Released{})
	case ConsumeReplay:
		c.reading, c.read = true, 0
	case Credit: // the simulated broker sends without it
	case StopReplay:
		c.reading = false
	case PublishOutputs:
		b.outputs = append(b.outputs, e.Item.Payload.(simMessage).id)
		tell(OutputsConfirmed(e))
	case PublishEntry:
		if b.gone {
			tell(EntryReturned{})
			return
		}
		b.replay = append(b.replay, simEntry{
			h: EntryHeader{Kind: EntryMessage, Number: e.Item.Number, Outcome: e.Item.Outcome, Identity: e.Item.Identity},
			m: e.Item.Payload.(simMessage)})
		tell(EntryConfirmed{Item: e.Item})
	case PublishEnd:
		if b.gone {
			tell(EntryReturned{})
			return
		}
		b.replay = append(b.replay, simEntry{h: EntryHeader{Kind: EntryEnd, Number: e.Number, Digest: e.Digest}})
		tell(EndConfirmed{})
	case Settle:
		held := len(b.unacked[c])
		b.unacked[c] = slices.DeleteFunc(b.unacked[c], func(d simDelivery) bool { return d.tag == e.Tag })
		if len(b.unacked[c]) == held {
			s.fault = fmt.Sprintf("%s settles delivery %d, which it does not hold", p.name, e.Tag)
		}
	case WriteDecision:
		tell(DecisionRead{Decision: b.decide(e.Decision)})
	case ReadDecision:
		tell(DecisionRead{Decision: b.decision})
	case Send:
		p.reports = append(p.reports, e.Report)
	case Drop:
		s.cut(p)
	}
}

func (b *simBroker) decide(d Decision) Decision {
	if b.decision == Undecided {
		b.decision = d
		b.decided++
	}
	return b.decision
}

// deliver hands the next message or entry to a connection.
func (s *sim) deliver(p *simProcess) bool {
	c := p.conn
	switch {
	case c == nil:
	case c.consuming && len(s.b.primary) > 0 && len(s.b.unacked[c]) < p.in.cfg.Prefetch:
		m := s.b.primary[0]
		s.b.primary = s.b.primary[1:]
		c.nextTag++
		s.b.unacked[c] = append(s.b.unacked[c], simDelivery{c.nextTag, m})
		c.inbox = append(c.inbox, Delivered{Tag: c.nextTag, Identity: m.id, Payload: m})
		return true
	case c.reading && c.read < len(s.b.replay):
		e := s.b.replay[c.read]
		c.read++
		c.inbox = append(c.inbox, Entered{Header: e.h, Payload: e.m})
		return true
	}
	return false
}
