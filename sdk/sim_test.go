package sdk

import (
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/internal/simbroker"
	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

var (
	schedules = flag.Int("schedules", 1500, "simulation: random schedules of each kind")
	seed      = flag.Uint64("seed", 0, "simulation: run this one schedule")
	tail      = flag.Int("tail", 80, "simulation: steps shown of a schedule that failed")
)

const (
	simMigration = "m"
	simQueue     = "q"
	simOut       = "out"
	simReports   = "reports"
)

// simOptions is a kind of schedules.
type simOptions struct {
	name     string
	cuts     int  // connections that may be lost
	restarts int  // of the broker
	mayAbort bool // the manager may give up
	mayDie   bool // the manager may go for good
	late     bool // commands may be repeated, and late
}

var simKinds = []simOptions{
	{name: "calm"},
	{name: "connections", cuts: 3, late: true},
	{name: "abort", cuts: 1, mayAbort: true, late: true},
	{name: "manager dies", cuts: 1, mayDie: true},
	{name: "broker restarts", restarts: 1, late: true},
}

// sim is one schedule: the library's processes, the broker, the manager, and
// the driver that lets one of them do one thing at a time. What is done depends
// on the seed alone.
type sim struct {
	o       simOptions
	r       *rand.Rand
	b       *simbroker.Broker
	m       *simManager
	procs   []*simProcess
	total   int
	sent    int // of the total
	lost    int // connections lost
	repeats int // commands sent again
	up      int // dials that the broker refuses before it is up
	weights map[string]int
	n       int
	choices []simChoice
	offers  []simbroker.Choice

	tracing bool
	trace   []string
	digest  uint64 // of all choices
	failure string
}

// TestSimulation runs random schedules of the whole library, on the real AMQP
// client, against the simulated broker and judges by the oracle: whoever is
// live in the end has applied every message once, in order.
func TestSimulation(t *testing.T) {
	for _, o := range simKinds {
		t.Run(o.name, func(t *testing.T) {
			first, count := uint64(1), uint64(*schedules)
			if *seed > 0 {
				first, count = *seed, 1
			}
			for n := first; n < first+count; n++ {
				if s := runSim(t, o, n, false); s.failure != "" {
					again := runSim(t, o, n, true)
					t.Fatalf("%s\nseed %d; again with\n\tgo test -run 'TestSimulation/%s' -seed %d .\nthe last of %d steps, which ended with: %s\n%s", s.failure, n, t.Name()[len("TestSimulation/"):], n,
						again.n, again.failure, strings.Join(again.trace[max(0, len(again.trace)-*tail):], "\n"))
				}
			}
		})
	}
}

// TestSimulationRepeats: a schedule is a function of its seed, without which a
// failing seed would be worth little.
func TestSimulationRepeats(t *testing.T) {
	for _, o := range simKinds {
		for n := range uint64(10) {
			a, b := runSim(t, o, 1000+n, true), runSim(t, o, 1000+n, true)
			if a.digest == b.digest && a.n == b.n {
				continue
			}
			at := 0
			for at < min(len(a.trace), len(b.trace)) && a.trace[at] == b.trace[at] {
				at++
			}
			t.Fatalf("%s, seed %d: two runs differ at step %d:\n%s\n\nand\n\n%s", o.name, 1000+n, at,
				strings.Join(a.trace[max(0, at-5):min(at+2, len(a.trace))], "\n"), strings.Join(b.trace[max(0, at-5):min(at+2, len(b.trace))], "\n"))
		}
	}
}

// runSim runs one schedule in a bubble of its own time.
func runSim(t *testing.T, o simOptions, seed uint64, tracing bool) *sim {
	s := &sim{o: o, r: rand.New(rand.NewPCG(seed, 2)), tracing: tracing}
	defer func() {
		if p := recover(); p != nil {
			buf := make([]byte, 1<<20)
			t.Fatalf("seed %d of %q: %v; goroutines:\n%s", seed, o.name, p, buf[:runtime.Stack(buf, true)])
		}
	}()
	keep := jitter
	jitter = func(d time.Duration) time.Duration { return d / 2 }
	defer func() { jitter = keep }()
	synctest.Test(t, func(*testing.T) {
		s.set()
		for s.failure == "" && !s.done() {
			s.step()
		}
		if s.failure == "" {
			s.judge()
		}
		s.teardown()
	})
	return s
}

func (s *sim) set() {
	s.b = simbroker.New()
	s.b.SlowClassic = s.r.IntN(2) == 0
	kind := []simbroker.Kind{simbroker.Classic, simbroker.Quorum}[s.r.IntN(2)]
	s.b.DeclareQueue(simQueue, kind, true)
	s.b.DeclareQueue(simOut, kind, true)
	s.b.DeclareQueue(simReports, simbroker.Classic, true)
	s.b.DeclareQueue(handover.ReplayQueue(simMigration), simbroker.Stream, true)
	s.total = 1 + s.r.IntN(12)
	// Every schedule has its own likes, so that some are lopsided.
	s.weights = map[string]int{}
	for _, k := range []string{simbroker.Process, simbroker.Assign, simbroker.Forward, simbroker.Confirm, simbroker.Notice, simbroker.End,
		simbroker.StreamsUp, "handler", "dial", "manager", "report", "produce", "time"} {
		s.weights[k] = []int{1, 4, 12}[s.r.IntN(3)]
	}
	s.weights["time"], s.weights["again"] = 1, 1
	s.m = &simManager{s: s, known: map[string]handover.Status{}}
	src := &simProcess{s: s, name: "source", pod: "pod-a"}
	c, err := New(Config{URL: "amqp://guest:guest@broker/", Queue: simQueue, Prefetch: 1 + s.r.IntN(4), Handler: src.handle, Digest: src.state,
		Dial: src.dial, Logger: slog.New(slog.DiscardHandler), Pod: PodInfo{UID: src.uid, Namespace: "test", Name: "service-0"}})
	if err != nil {
		panic(err)
	}
	src.c = c
	s.procs = append(s.procs, src)
	src.start()
}

// simChoice is one thing that can be done next.
type simChoice struct {
	kind   string
	broker simbroker.Choice
	p      *simProcess
	h      *simHandling
}

// calm is when nothing disturbs any more.
func (s *sim) calm() bool { return s.n > 1500 }

func (s *sim) step() {
	if s.n++; s.n > 8000 {
		s.fail("does not come to an end")
		return
	}
	synctest.Wait()
	s.offer()
	c := s.pick()
	what := s.do(c)
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%5d %v %s: %v | %s", s.n, time.Since(s.procs[0].c.epoch).Round(time.Millisecond), c.kind, what, s.describe()))
	}
	synctest.Wait()
	s.watch()
}

// offer lists what can be done.
func (s *sim) offer() {
	s.offers = s.b.Choices(s.offers[:0])
	s.choices = s.choices[:0]
	for _, c := range s.offers {
		s.choices = append(s.choices, simChoice{kind: c.Kind, broker: c})
	}
	for _, p := range s.procs {
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
		} else if s.o.late && !s.calm() && s.repeats < 10 {
			s.choices = append(s.choices, simChoice{kind: "again"})
		}
		if s.b.Queue(simReports).Len() > 0 {
			s.choices = append(s.choices, simChoice{kind: "report"})
		}
	}
	if s.sent < s.total {
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

// fault is now and then something that goes wrong.
func (s *sim) fault() (simChoice, bool) {
	if s.calm() || s.r.IntN(60) > 0 {
		return simChoice{}, false
	}
	live := s.b.Conns()
	switch k := s.r.IntN(6); {
	case k < 2 && s.lost < s.o.cuts && len(live) > 0:
		return simChoice{kind: "cut"}, true
	case k == 2 && s.lost < s.o.cuts && len(live) > 0:
		return simChoice{kind: "forget"}, true
	case k == 3 && s.lost < s.o.restarts:
		return simChoice{kind: "restart"}, true
	case k == 4 && s.o.mayAbort && !s.m.gaveUp && s.r.IntN(3) == 0:
		return simChoice{kind: "abort"}, true
	case k == 5 && s.o.mayDie && !s.m.dead && s.r.IntN(3) == 0:
		return simChoice{kind: "manager dies"}, true
	}
	return simChoice{}, false
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
		id := fmt.Sprint("p-", s.sent)
		s.sent++
		s.b.Publish(simQueue, wire.Properties{MessageID: id}, []byte(id))
		return id
	case "time":
		return s.pass()
	case "cut":
		s.lost++
		conn := pickOne(s.r, s.b.Conns())
		conn.Cut()
		return conn
	case "forget":
		s.lost++
		conn := pickOne(s.r, s.b.Conns())
		conn.Forget()
		return conn
	case "restart":
		s.lost++
		s.up = s.r.IntN(3)
		s.b.Restart(s.r)
		return ""
	case "abort":
		s.m.giveUp()
		return ""
	case "manager dies":
		s.m.dead = true
		return ""
	}
	return s.b.Do(c.broker, s.r)
}

func pickOne[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// How late, at most, the simulated broker notices what has ended: the queues a
// channel's end, and the connection its client's.
const (
	noticeWithin = time.Second
	endWithin    = 15 * time.Second
)

// pass lets time pass. It must not pass over what is due by then.
func (s *sim) pass() any {
	d := []time.Duration{time.Millisecond, 6 * time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond, time.Second}[s.r.IntN(5)]
	if len(s.choices) == 1 || s.calm() {
		d = max(d, []time.Duration{10 * time.Millisecond, time.Second}[s.r.IntN(2)])
	}
	for _, c := range s.offers {
		left := time.Hour
		switch c.Kind {
		case simbroker.Notice:
			left = noticeWithin - time.Since(c.Since)
		case simbroker.End:
			left = endWithin - time.Since(c.Since)
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
	fmt.Fprintf(&b, "decision=%q ready=%d held=%d replay=%d takers=%v", s.m.decision(), s.b.Queue(simQueue).Len(), s.b.Held(simQueue), s.b.Queue(handover.ReplayQueue(simMigration)).Len(), s.b.Takers(simQueue))
	for _, p := range s.procs {
		fmt.Fprintf(&b, " | %s %s n=%d applied=%d running=%d connected=%v", p.name, p.c.State(), p.c.in.Number(), len(p.applied), len(p.handlings), p.c.session != nil)
	}
	return b.String()
}

// teardown ends everything and waits for the end: a bubble does not end while
// one of its goroutines lives.
func (s *sim) teardown() {
	for _, p := range s.procs {
		p.stop()
	}
	for range 100 {
		synctest.Wait()
		busy := false
		for _, p := range s.procs {
			for _, h := range p.running() {
				p.finish(h)
				busy = true
			}
			busy = p.refuse() || busy
		}
		for _, c := range s.b.Choices(nil) {
			if c.Kind == simbroker.Process {
				s.b.Do(c, s.r)
				busy = true
				break
			}
		}
		if !busy && !slices.ContainsFunc(s.procs, func(p *simProcess) bool { return !p.ended() }) {
			break
		}
		if !busy {
			time.Sleep(time.Second)
		}
	}
	for _, c := range s.b.Conns() {
		c.Cut()
	}
	time.Sleep(time.Minute)
}
