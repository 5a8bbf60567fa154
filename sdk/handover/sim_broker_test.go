package handover

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// This file simulates a broker as RabbitMQ behaves: what a connection that is
// lost held unacknowledged goes back to the front of its queue, in order;
// publishings of one connection keep their order; confirms may be lost; a
// connection may be dead for its client while the broker still keeps it.

type simMessage struct{ id, key, queue string }

// name is what the application knows a message by: another queue's message of
// the same identity is another one.
func (m simMessage) name() string { return m.queue + m.id }

type simEntry struct {
	h EntryHeader
	m simMessage
}

type simBroker struct {
	queues     []string     // the primary queues
	primary    []simMessage // in all of them
	conns      []*simConn   // that the broker keeps
	replay     []simEntry
	down       bool // the replay queue is not up
	decision   Decision
	decided    int // decisions that took effect; more than one is a fault
	held       bool
	sequential bool // … and the hold says so
	outputs    []string
	fault      string
}

type simDelivery struct {
	tag uint64
	m   simMessage
}

// simConn is one connection of a process.
type simConn struct {
	p         *simProcess
	todo      []Effect // sent, or about to be, and not carried out
	inbox     []Event  // from the broker, not told
	unacked   []simDelivery
	control   []string // pods whose control queue it holds
	wants     string   // the pod whose control queue it waits for, to fence it
	consuming bool
	reading   bool
	read      int    // entries of the replay queue delivered
	credited  uint64 // … and let go of
	nextTag   uint64
	half      bool // dead for the client
}

func (b *simBroker) open(p *simProcess) *simConn {
	c := &simConn{p: p}
	b.conns = append(b.conns, c)
	return c
}

// drop ends a connection: what it holds goes back to the front of the queue.
func (b *simBroker) drop(c *simConn) {
	b.conns = slices.DeleteFunc(b.conns, func(o *simConn) bool { return o == c })
	c.consuming = false
	b.giveBack(c)
}

func (b *simBroker) giveBack(c *simConn) {
	var back []simMessage
	for _, d := range c.unacked {
		back = append(back, d.m)
	}
	c.unacked = nil
	b.primary = append(back, b.primary...)
}

// controls is the connection that holds the control queue of a pod.
func (b *simBroker) controls(pod string) *simConn {
	for _, c := range b.conns {
		if slices.Contains(c.control, pod) {
			return c
		}
	}
	return nil
}

func (b *simBroker) decide(d Decision) Decision {
	if b.decision == Undecided {
		b.decision = d
		b.decided++
	}
	return b.decision
}

func (b *simBroker) view(pod string) *HoldView {
	if !b.held {
		return nil
	}
	return &HoldView{Target: pod != simSource, Decision: b.decision, Hold: Hold{
		Version: Version, Migration: simMigration, SourcePod: simSource, DeadlineMillis: 100_000, Sequential: b.sequential}}
}

// overlap is invariant 1: no two connections take from the primary at once.
func (b *simBroker) overlap() bool {
	takers := 0
	for _, c := range b.conns {
		if c.consuming || len(c.unacked) > 0 {
			takers++
		}
	}
	return takers > 1
}

// carry carries the next effect of a connection out. It reports whether the
// connection is to end with it.
func (b *simBroker) carry(c *simConn) (end bool) {
	if c.wants != "" && b.controls(c.wants) == nil {
		c.control, c.wants = append(c.control, c.wants), ""
		c.inbox = append(c.inbox, Fenced{})
	}
	if len(c.todo) == 0 {
		return false
	}
	e := c.todo[0]
	c.todo = c.todo[1:]
	tell := func(ev Event) { c.inbox = append(c.inbox, ev) }
	switch e := e.(type) {
	case Fence:
		c.wants = e.Pod
	case Unfence:
		c.wants = ""
		c.control = slices.DeleteFunc(c.control, func(pod string) bool { return pod == simSource })
	case Consume:
		c.consuming = true
	case Release:
		c.consuming = false
		c.inbox = slices.DeleteFunc(c.inbox, func(ev Event) bool { _, is := ev.(Delivered); return is })
		b.giveBack(c)
		tell(Released{})
	case ConsumeReplay:
		c.reading, c.read, c.credited = true, 0, 0
	case StopReplay:
		c.reading = false
	case PublishOutputs:
		b.outputs = append(b.outputs, e.Item.Payload.(simMessage).name())
		tell(OutputsConfirmed(e))
	case PublishEntry:
		if b.down {
			tell(EntryReturned{})
			break
		}
		b.replay = append(b.replay, simEntry{
			h: EntryHeader{Kind: EntryMessage, Number: e.Item.Number, Outcome: e.Item.Outcome, Queue: e.Item.Queue, Identity: e.Item.Identity},
			m: e.Item.Payload.(simMessage)})
		tell(EntryConfirmed{Item: e.Item})
	case PublishEnd:
		if b.down {
			tell(EntryReturned{})
			break
		}
		b.replay = append(b.replay, simEntry{h: EntryHeader{Kind: EntryEnd, Number: e.Number, Digest: e.Digest, Takeover: e.Takeover}})
		tell(EndConfirmed{Migration: e.Migration})
	case Settle:
		i := slices.IndexFunc(c.unacked, func(d simDelivery) bool { return d.tag == e.Tag })
		if i < 0 {
			b.fault = fmt.Sprintf("%s settles delivery %d, which it does not hold", c.p.name, e.Tag)
			break
		}
		if e.Outcome == Requeued {
			b.primary = append([]simMessage{c.unacked[i].m}, b.primary...)
		}
		c.unacked = slices.Delete(c.unacked, i, i+1)
	case WriteDecision:
		tell(DecisionRead{Decision: b.decide(e.Decision)})
	case ReadDecision:
		tell(DecisionRead{Decision: b.decision})
	case ReadHold:
		tell(HoldRead{Hold: b.view(c.p.pod)})
	case Send:
		c.p.reports = append(c.p.reports, e.Report)
	case Credit:
		if e.Tag <= c.credited || e.Tag > uint64(c.read) {
			b.fault = fmt.Sprintf("%s gives credit for entry %d after %d of %d", c.p.name, e.Tag, c.credited, c.read)
		}
		c.credited = e.Tag
	case Drop:
		return true
	}
	return false
}

// simCredit is how many entries are sent ahead of credit.
const simCredit = 3

// next is the place of the next message of a queue that the connection has room
// for, -1 if there is none.
func (b *simBroker) next(c *simConn, queue string) int {
	held := 0
	for _, d := range c.unacked {
		if d.m.queue == queue {
			held++
		}
	}
	if !c.consuming || held >= c.p.in.cfg.Prefetch {
		return -1
	}
	return slices.IndexFunc(b.primary, func(m simMessage) bool { return m.queue == queue })
}

// deliver hands the next message or entry to a connection, if there is one.
func (b *simBroker) deliver(c *simConn, r *rand.Rand) bool {
	at := -1
	for _, q := range shuffled(b.queues, r) {
		if at = b.next(c, q); at >= 0 {
			break
		}
	}
	switch {
	case at >= 0:
		m := b.primary[at]
		b.primary = slices.Delete(b.primary, at, at+1)
		c.nextTag++
		c.unacked = append(c.unacked, simDelivery{c.nextTag, m})
		c.inbox = append(c.inbox, Delivered{Tag: c.nextTag, Queue: m.queue, Identity: m.id, Key: m.key, Payload: m})
		return true
	case c.reading && c.read < len(b.replay) && c.read < int(c.credited)+simCredit:
		e := b.replay[c.read]
		c.read++
		c.inbox = append(c.inbox, Entered{Tag: uint64(c.read), Header: e.h, Key: e.m.key, Payload: e.m})
		return true
	}
	return false
}

// shuffled is a list in a random order.
func shuffled(list []string, r *rand.Rand) []string {
	if len(list) < 2 {
		return list
	}
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	return list
}
