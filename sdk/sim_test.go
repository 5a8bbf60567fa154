package sdk

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

var (
	schedules = flag.Int("schedules", 800, "simulation: random schedules of each kind")
	seed      = flag.Uint64("seed", 0, "simulation: run this one schedule")
	tail      = flag.Int("tail", 80, "simulation: steps shown of a schedule that failed")
)

// simOptions is a kind of schedules.
type simOptions struct {
	name       string
	cuts       int  // connections that may be lost
	restarts   int  // of the broker
	crashes    int  // processes that may die
	abort      bool // the manager may give up
	manager    bool // managers may be replaced, or go for good
	late       bool // commands may be repeated, and late
	lateImages bool // the image may be taken in any state
	gone       bool // the replay queue may be removed
	keys       int  // handlers run in parallel, by so many keys
	twice      bool // messages may be published twice
	outcomes   bool // handlers reject, and give back
	sequential bool // the source goes before a copy is made
	queues     int  // two or more primary queues, up to so many
}

var simKinds = []simOptions{
	{name: "calm"},
	{name: "connections", cuts: 3, late: true, twice: true},
	{name: "abort", cuts: 1, abort: true, late: true, outcomes: true},
	{name: "managers", cuts: 1, manager: true, late: true},
	{name: "broker-restarts", restarts: 2, late: true},
	{name: "late-images", cuts: 1, lateImages: true},
	{name: "crashes", cuts: 3, crashes: 2},
	{name: "keys", cuts: 2, crashes: 1, keys: 3, twice: true},
	{name: "sequential", cuts: 3, restarts: 1, crashes: 2, abort: true, late: true, twice: true, sequential: true},
	{name: "queues", cuts: 3, restarts: 1, crashes: 1, late: true, twice: true, queues: 3},
	{name: "queues-everything", cuts: 3, crashes: 1, abort: true, manager: true, late: true, lateImages: true, keys: 3, outcomes: true, queues: 3},
	{name: "everything", cuts: 3, restarts: 1, crashes: 1, abort: true, manager: true, late: true, lateImages: true, gone: true, keys: 3, outcomes: true},
}

// ends are the ways to end that some schedule must reach.
func (o simOptions) ends() []string {
	ends := []string{"COMMIT"}
	if o.abort || o.crashes > 0 || o.manager {
		ends = append(ends, "ABORT")
	}
	if o.crashes > 0 {
		ends = append(ends, "COMMIT by takeover")
	}
	if o.lateImages {
		ends = append(ends, "COMMIT by another attempt")
	}
	if o.sequential {
		ends = append(ends, "COMMIT by another copy")
	}
	return ends
}

// TestSimulation runs random schedules of the whole library, on the real AMQP
// client, against the simulated broker and judges by the oracle: whoever is
// live in the end has applied every message once, in order.
func TestSimulation(t *testing.T) {
	for _, o := range simKinds {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			first, last := uint64(1), uint64(*schedules)
			if *seed > 0 {
				first, last = *seed, *seed
			}
			ends, steps, began := map[string]int{}, 0, time.Now()
			for n := first; n <= last; n++ {
				s := runSim(t, o, n, false)
				if s.failure != "" {
					again := runSim(t, o, n, true)
					t.Fatalf("%s\nseed %d; again with -run '%s$' -seed %d; the last of %d steps, which ended with: %s\n%s", s.failure, n, t.Name(), n,
						again.n, again.failure, again.last())
				}
				ends[s.end()]++
				steps += s.n
			}
			count := last - first + 1
			t.Logf("%.0f schedules a second, %d steps each: %v", float64(count)/time.Since(began).Seconds(), steps/int(count), ends)
			for _, want := range o.ends() {
				if ends[want] == 0 && count >= 500 {
					t.Errorf("no schedule ended with %s: the simulation does not reach it any more", want)
				}
			}
		})
	}
}

// TestSimulationRepeats: a schedule is a function of its seed, without which a
// failing seed would be worth little.
func TestSimulationRepeats(t *testing.T) {
	for _, o := range simKinds {
		for n := range uint64(20) {
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
	s := newSim(o, rand.New(rand.NewPCG(seed, 2)), tracing)
	defer func() {
		if p := recover(); p != nil { // of synctest: a goroutine is left
			stacks := make([]byte, 1<<20)
			t.Fatalf("seed %d of %s: %s%v\n%s\n%s", seed, o.name, s.failure, p, s.last(), stacks[:runtime.Stack(stacks, true)])
		}
	}()
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

// end is how the migration ended.
func (s *sim) end() string {
	d := s.m.decision()
	switch {
	case d == handover.Commit && s.m.lost:
		return "COMMIT by takeover"
	case d == handover.Commit && s.m.copies > 1:
		return "COMMIT by another copy"
	case d == handover.Commit && s.m.attempt > 1:
		return "COMMIT by another attempt"
	}
	return string(d)
}

func (s *sim) last() string { return strings.Join(s.trace[max(0, len(s.trace)-*tail):], "\n") }
