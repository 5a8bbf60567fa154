package sdk

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/internal/simbroker"
	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

const (
	simMigration = "m"
	simOut       = "out"
	simReports   = "reports"
)

// sim is one schedule: the library's processes, the broker, the manager, and
// the driver that lets one of them do one thing at a time. What is done depends
// on the seed alone.
type sim struct {
	o      simOptions
	r      *rand.Rand
	b      *simbroker.Broker
	m      *simManager
	procs  []*simProcess // the first is the one that is to be moved
	before []*simProcess // dead, and forgotten
	began  time.Time

	queues      []string  // the primary queues
	messages    []simSend // to be sent
	prefetch    int
	concurrency int
	sent        int // of the messages
	lost        int // connections lost
	restarts    int
	crashes     int
	repeats     int // commands sent again
	refusals    int // dials that the broker refuses before it is up
	once        int // calls of what Message.Once records

	rate    int // one step in so many may be a fault
	weights map[string]int
	n       int // steps
	offers  []simbroker.Choice
	choices []simChoice

	tracing bool
	trace   []string
	digest  uint64 // of all choices
	failure string
}

// simSend is a message to be sent into a queue. The same identity may be sent into
// several: that is not the same message to the service.
type simSend struct{ queue, identity string }

// name is what the application knows a message by.
func (m simSend) name() string { return m.queue + ":" + m.identity }

// simChoice is one thing that can be done next.
type simChoice struct {
	kind   string
	broker simbroker.Choice
	p      *simProcess
	h      *simHandling
}

func newSim(o simOptions, r *rand.Rand, tracing bool) *sim {
	s := &sim{o: o, r: r, tracing: tracing, weights: map[string]int{}, prefetch: 1 + r.IntN(4), concurrency: 1, queues: []string{"q"}}
	if o.queues > 0 {
		s.queues = []string{"q", "r", "s"}[:2+r.IntN(o.queues-1)]
	}
	messages := 1 + r.IntN(12)
	if r.IntN(10) == 0 {
		messages = 30 + r.IntN(30) // more than the memory of identities holds
	}
	for i := range messages {
		id := fmt.Sprintf("k%d/%d", r.IntN(max(1, o.keys)), i)
		for _, q := range s.into(r) {
			m := simSend{q, id}
			s.messages = append(s.messages, m)
			if o.twice && r.IntN(4) == 0 {
				s.messages = append(s.messages, m)
			}
		}
	}
	if o.keys > 0 {
		s.concurrency = 1 + r.IntN(3)
	}
	// Every schedule has its own likes, so that some are lopsided.
	for _, k := range []string{simbroker.Process, simbroker.Assign, simbroker.Forward, simbroker.Confirm, simbroker.Notice, simbroker.End,
		simbroker.StreamsUp, "handler", "dial", "manager", "report", "produce"} {
		s.weights[k] = pickOne(r, []int{1, 4, 12})
	}
	s.rate = pickOne(r, []int{20, 60})
	s.weights["time"], s.weights["again"] = 1, 1
	return s
}

// into are the queues that a message goes into: an exchange may be bound to several.
func (s *sim) into(r *rand.Rand) []string {
	if len(s.queues) == 1 {
		return s.queues
	}
	queues := slices.Clone(s.queues)
	r.Shuffle(len(queues), func(i, k int) { queues[i], queues[k] = queues[k], queues[i] })
	return queues[:1+r.IntN(8)/7]
}

// set sets the scene, inside the bubble.
func (s *sim) set() {
	s.began = time.Now()
	s.b = simbroker.New()
	s.b.SlowClassic = s.r.IntN(2) == 0
	kinds := []simbroker.Kind{simbroker.Classic, simbroker.Quorum}
	kind := pickOne(s.r, kinds)
	s.b.DeclareQueue(s.queues[0], kind, true)
	for _, q := range s.queues[1:] {
		s.b.DeclareQueue(q, pickOne(s.r, kinds), true)
	}
	s.b.DeclareQueue(simOut, kind, true)
	s.b.DeclareQueue(simReports, simbroker.Classic, true)
	s.b.DeclareQueue(handover.ReplayQueue(simMigration), simbroker.Stream, true)
	s.m = &simManager{s: s, epoch: 1, known: map[string]handover.Status{}, reasons: map[handover.Reason]string{}}
	s.fresh("source", simSourcePod)
}

func (s *sim) wait() { synctest.Wait() }

// calm is when nothing disturbs any more.
func (s *sim) calm() bool { return s.n > 1500 }

func (s *sim) step() {
	if s.n++; s.n > 10_000 {
		s.fail("does not come to an end: %s", s.describe())
		return
	}
	s.wait()
	s.offer()
	c := s.pick()
	what := s.do(c)
	s.wait()
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%5d %v %s: %v | %s", s.n, time.Since(s.began).Round(time.Millisecond), c.kind, what, s.describe()))
	}
	s.watch()
}

// offer lists what can be done.
func (s *sim) offer() {
	s.offers = s.b.Choices(s.offers[:0])
	s.choices = s.choices[:0]
	for _, c := range s.offers {
		if c.Kind == simbroker.StreamsUp && s.r.IntN(30) > 0 {
			continue // it takes long enough for clients to come back before
		}
		s.choices = append(s.choices, simChoice{kind: c.Kind, broker: c})
	}
	for _, p := range s.procs {
		if p.dead {
			continue
		}
		for _, h := range p.running() {
			s.choices = append(s.choices, simChoice{kind: "handler", p: p, h: h})
		}
		if p.waiting() > 0 {
			s.choices = append(s.choices, simChoice{kind: "dial", p: p})
		}
	}
	if !s.m.dead {
		if !s.m.waits() {
			s.choices = append(s.choices, simChoice{kind: "manager"})
		} else if s.o.late && !s.calm() && s.repeats < 10 && len(s.m.sent) > 0 {
			s.choices = append(s.choices, simChoice{kind: "again"})
		}
		if s.b.Queue(simReports).Len() > 0 {
			s.choices = append(s.choices, simChoice{kind: "report"})
		}
	}
	if s.sent < len(s.messages) {
		s.choices = append(s.choices, simChoice{kind: "produce"})
	}
	s.choices = append(s.choices, simChoice{kind: "time"})
}

func (s *sim) weight(c simChoice) int {
	if s.calm() && c.kind != "time" {
		return 10
	}
	return s.weights[c.kind]
}

func (s *sim) pick() simChoice {
	if c, ok := s.fault(); ok {
		return c
	}
	sum := 0
	for _, c := range s.choices {
		sum += s.weight(c)
	}
	k, at := s.r.IntN(sum), 0
	for k >= s.weight(s.choices[at]) {
		k -= s.weight(s.choices[at])
		at++
	}
	h := fnv.New64a()
	fmt.Fprint(h, s.digest, at, len(s.choices), s.choices[at].kind)
	s.digest = h.Sum64()
	return s.choices[at]
}

func (s *sim) do(c simChoice) any {
	switch c.kind {
	case "handler":
		return c.p.finish(c.h)
	case "dial":
		return c.p.connect()
	case "manager":
		return s.m.act()
	case "again":
		s.repeats++
		return s.m.again()
	case "report":
		return s.m.read()
	case "produce":
		m := s.messages[s.sent]
		s.sent++
		s.b.Publish(m.queue, wire.Properties{MessageID: m.identity}, []byte(m.name()))
		return m.name()
	case "time":
		return s.pass()
	case "fault":
		return "" // done already
	}
	return s.b.Do(c.broker, s.r)
}

func pickOne[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// How late, at most, the simulated broker notices what has ended: the queues a
// channel's end, and the connection its client's; and how long after a restart
// streams are up again. The library relies on the first (witnessBound) and the
// last (relayPatience).
const (
	noticeWithin = time.Second
	endWithin    = 15 * time.Second
	upWithin     = 10 * time.Second
)

// pass lets time pass. It must not pass over what is due by then.
func (s *sim) pass() any {
	d := pickOne(s.r, []time.Duration{time.Millisecond, 6 * time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond, time.Second})
	if len(s.choices) == 1 || s.calm() {
		d = max(d, pickOne(s.r, []time.Duration{10 * time.Millisecond, 2 * time.Second}))
	}
	for _, c := range s.offers {
		left := time.Hour
		switch c.Kind {
		case simbroker.Notice:
			left = noticeWithin - time.Since(c.Since)
		case simbroker.End:
			left = endWithin - time.Since(c.Since)
		case simbroker.StreamsUp:
			left = upWithin - time.Since(c.Since)
		}
		if left <= 0 {
			return s.b.Do(c, s.r)
		}
		d = min(d, left)
	}
	s.b.Heartbeat()
	time.Sleep(d)
	return d
}

func (s *sim) fail(format string, args ...any) {
	if s.failure == "" {
		s.failure = fmt.Sprintf(format, args...)
	}
}

func (s *sim) describe() string {
	var b strings.Builder
	replay := 0
	if q := s.b.Queue(handover.ReplayQueue(simMigration)); q != nil {
		replay = q.Len()
	}
	fmt.Fprintf(&b, "decision=%q replay=%d", s.m.decision(), replay)
	for _, q := range s.queues {
		fmt.Fprintf(&b, " | %s ready=%d held=%d takers=%v", q, s.b.Queue(q).Len(), s.b.Held(q), s.b.Takers(q))
	}
	for _, p := range s.procs {
		if p.dead {
			fmt.Fprintf(&b, " | %s dead", p.name)
			continue
		}
		fmt.Fprintf(&b, " | %s %s n=%d applied=%d running=%d connected=%v", p.name, p.c.State(), p.c.in.Number(), len(p.applied), len(p.handlings), p.c.session != nil)
	}
	return b.String()
}

// teardown ends everything and waits for the end: a bubble does not end while
// one of its goroutines lives.
func (s *sim) teardown() {
	s.procs = append(s.procs, s.before...)
	for _, p := range s.procs {
		p.stop()
	}
	for range 2000 { // a frame each: whoever ends takes leave of the broker
		s.wait()
		busy, ended := false, true
		for _, p := range s.procs {
			for _, h := range p.running() {
				p.finish(h)
				busy = true
			}
			busy = p.refuse() || busy
			ended = p.ended() && ended
		}
		for _, c := range s.b.Choices(nil) {
			if c.Kind == simbroker.Process {
				s.b.Do(c, s.r)
				busy = true
				break
			}
		}
		switch {
		case !busy && ended:
			for _, c := range s.b.Conns() {
				c.Cut()
			}
			time.Sleep(time.Minute) // for what is bounded by time alone
			return
		case !busy:
			time.Sleep(time.Second)
		}
	}
	s.fail("does not end when it is told to: %s", s.describe())
}
