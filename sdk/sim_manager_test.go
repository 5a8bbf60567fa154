package sdk

import (
	"encoding/json"
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/internal/simbroker"
	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

const simSourcePod = "pod-a"

// simAttempts is how often the manager tries to get a good image.
const simAttempts = 4

// simPatience is how long the manager waits for an answer before it acts again.
const simPatience = 300 * time.Millisecond

// simManager drives the hand-over by what it reads in the reports, as
// docs/protocol.md says. It may give up at any moment, be replaced by another,
// or go for good.
type simManager struct {
	s        *sim
	epoch    int64
	attempt  int
	known    map[string]handover.Status // by pod, as last reported
	source   string                     // incarnation of the process that is moved
	held     bool                       // the holds are set
	image    *simProcess                // of this attempt
	resumed  bool                       // RESUME has been sent for it
	target   string                     // pod of the copy, once it is started
	copies   int                        // of one image, in a sequential migration
	lost     bool                       // the source's process is taken for dead
	forced   bool                       // … though it lives
	newcomer bool                       // another process has said HELLO in the source's pod
	gaveUp   bool
	dead     bool
	sent     []handover.Command
	reasons  map[handover.Reason]string // why instances gave up, as reported
	asked    time.Time                  // when the last command was sent that is not answered
}

// waits reports whether the manager has nothing to do but to wait.
func (m *simManager) waits() bool { return !m.asked.IsZero() && time.Since(m.asked) < simPatience }

// decision is what stands at the broker.
func (m *simManager) decision() handover.Decision {
	switch m.s.b.Exchange(handover.DecisionExchange(simMigration)) {
	case handover.CommitExchangeType:
		return handover.Commit
	case handover.AbortExchangeType:
		return handover.Aborted
	}
	return handover.Undecided
}

func (m *simManager) giveUp() {
	m.gaveUp = true
	m.s.b.DeclareExchange(handover.DecisionExchange(simMigration), handover.AbortExchangeType)
}

// replaced lets another manager take over, which has nothing but the status.
func (m *simManager) replaced() {
	m.epoch++
	m.known = map[string]handover.Status{}
	m.asked = time.Time{}
}

// hold sets the holds.
func (m *simManager) hold() {
	m.held = true
	keys := []string{simMigration, simSourcePod, handover.PodSlot("test", "service-0")}
	for _, q := range m.s.queues {
		keys = append(keys, handover.QueueSlot(q))
	}
	for _, key := range keys {
		body, err := json.Marshal(handover.Hold{Version: handover.Version, Migration: simMigration, SourcePod: simSourcePod, DeadlineMillis: 60_000, Sequential: m.s.o.sequential})
		if err != nil {
			panic(err)
		}
		q := m.s.b.DeclareQueue(handover.HoldQueue(key), simbroker.Classic, true)
		m.s.b.Publish(q.Name, wire.Properties{Type: handover.TypeHold}, body)
	}
}

// read reads one report.
func (m *simManager) read() any {
	var r handover.Report
	if err := json.Unmarshal(m.s.b.Take(simReports).Body, &r); err != nil {
		m.s.fail("not a report: %v", err)
	}
	if r.Kind == handover.ReportLive || r.Status.State == handover.Void {
		m.reasons[r.Reason] = r.Message
	}
	if r.Answers != "" {
		m.asked = time.Time{}
	}
	if r.Answers == handover.Freeze && r.Reason == handover.ReasonNotPaused && r.Status.Attempt == m.attempt {
		m.image = nil // it may be no good: another attempt
	}
	st := r.Status
	if st.PodUID == simSourcePod {
		if m.source == "" {
			m.source = st.Incarnation
		}
		if st.Incarnation != m.source {
			m.lost, m.newcomer = true, true
			return "a newcomer says HELLO"
		}
	}
	m.known[st.PodUID] = st
	return fmt.Sprintf("%s %s %q of %s: %s attempt %d", r.Kind, r.Reason, r.Message, st.PodUID, st.State, st.Attempt)
}

func (m *simManager) send(pod string, kind handover.CommandKind, deadline time.Duration) any {
	c := handover.Command{Version: handover.Version, Kind: kind, Migration: simMigration, Attempt: m.attempt, Epoch: m.epoch, PodUID: pod,
		DeadlineMillis: deadline.Milliseconds(), LeaseMillis: (20 * time.Second).Milliseconds(), ReportMillis: 200}
	switch kind {
	case handover.Prepare, handover.StartReplay:
		c.ReplayQueue = handover.ReplayQueue(simMigration)
		c.Sequential = m.s.o.sequential && kind == handover.Prepare
	case handover.TakeOver:
		if !m.newcomer {
			c.FencePodUID = simSourcePod
		}
	case handover.Hello: // which paces a source that relays, and nobody else
		c.PaceMillis, c.DeadlineMillis = pickOne(m.s.r, []int64{0, 5, 40, 1000}), 3000
	}
	m.sent = append(m.sent, c)
	m.asked = time.Now()
	return m.publish(c)
}

func (m *simManager) publish(c handover.Command) any {
	body, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	arrived := m.s.b.Publish(handover.ControlQueue(c.PodUID), wire.Properties{Type: handover.TypeCommand, ReplyTo: simReports}, body)
	return fmt.Sprintf("%s to %s, attempt %d, arrives: %v", c.Kind, c.PodUID, c.Attempt, arrived)
}

// again sends a command again, however late.
func (m *simManager) again() any { return m.publish(pickOne(m.s.r, m.sent)) }

// act does the next thing.
func (m *simManager) act() any {
	r := m.s.r
	if r.IntN(6) == 0 {
		return m.send(m.anyPod(), handover.Hello, 0)
	}
	deadline := 10 * time.Second
	if !m.s.calm() {
		deadline = pickOne(r, []time.Duration{300 * time.Millisecond, 2 * time.Second, 10 * time.Second})
	}
	if m.s.o.sequential {
		return m.actSequential(deadline)
	}
	m.lost = m.lost || m.s.procs[0].dead
	src, tgt := m.known[simSourcePod], m.known[m.target]
	switch d := m.decision(); {
	case d == handover.Commit:
		return m.send(m.anyPod(), handover.Retire, 0)
	case d == handover.Aborted:
		return m.send(m.anyPod(), handover.Abort, 0)
	case m.lost && m.image == nil, m.target != "" && m.image.dead:
		m.giveUp()
		return "gives up: source or target is lost"
	case src.State == "" && !m.lost:
		return m.send(simSourcePod, handover.Hello, 0)
	case m.target == "":
		return m.checkpoint(src, deadline)
	case tgt.State == handover.Void && tgt.Decision == handover.Undecided:
		// The image was no good: its pod is deleted, and another attempt made.
		m.image.crash(false)
		m.image, m.target = nil, ""
		return m.another(src, deadline)
	case tgt.State == handover.Void, tgt.State == handover.Held:
		m.giveUp()
		return "gives up: the target is " + tgt.State
	case tgt.State == handover.Restored:
		return m.send(m.target, handover.StartReplay, time.Minute)
	case tgt.State == handover.Replaying && m.lost:
		return m.send(m.target, handover.TakeOver, 0)
	case tgt.State == handover.Replaying && src.State == handover.Relaying && r.IntN(2) == 0:
		return m.send(simSourcePod, handover.Freeze, deadline)
	}
	return m.send(m.anyPod(), handover.Hello, 0)
}

// checkpoint gets an image, and starts the copy.
func (m *simManager) checkpoint(src handover.Status, deadline time.Duration) any {
	mine := src.Attempt == m.attempt
	switch {
	case src.State == handover.Live && !m.lost:
		m.image, m.attempt = nil, max(m.attempt, 1)
		m.hold()
		return m.send(simSourcePod, handover.Prepare, deadline)
	case m.image == nil && src.State == handover.Relaying && !mine:
		return m.send(simSourcePod, handover.Prepare, deadline)
	case m.image == nil && src.State == handover.Relaying, m.image != nil && !m.resumed && src.State == handover.Relaying && !m.s.o.lateImages:
		return m.another(src, deadline) // it went on by itself, before or while the image was taken
	case m.image == nil && mine && (src.State == handover.Paused || m.s.o.lateImages && m.s.r.IntN(8) == 0):
		m.image, m.resumed = m.s.procs[0].image(fmt.Sprint("target", m.attempt), fmt.Sprint("pod-b", m.attempt)), false
		return "image at " + m.image.c.State()
	case m.image != nil && src.State == handover.Paused && !m.lost:
		m.resumed = true
		return m.send(simSourcePod, handover.Resume, 0)
	case m.image != nil && (src.State == handover.Relaying || m.lost):
		m.target = m.image.pod
		m.image.wake()
		return "the copy wakes"
	}
	return m.send(simSourcePod, handover.Hello, 0)
}

// another begins another attempt.
func (m *simManager) another(src handover.Status, deadline time.Duration) any {
	m.image = nil
	if src.Attempt >= m.attempt {
		m.attempt = src.Attempt + 1
	}
	if m.attempt > simAttempts || m.lost {
		m.giveUp()
		return "gives up: no good image"
	}
	return m.send(simSourcePod, handover.Prepare, deadline)
}

func (m *simManager) anyPod() string {
	if m.target != "" && m.s.r.IntN(2) == 0 {
		return m.target
	}
	return simSourcePod
}
