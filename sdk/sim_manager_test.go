package sdk

import (
	"encoding/json"
	"fmt"
	"testing/synctest"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/internal/simbroker/wire"
)

const (
	simSourcePod = "pod-a"
	simTargetPod = "pod-b"
)

func (s *sim) wait() { synctest.Wait() }

// simManager drives the hand-over by what it reads in the reports, as
// docs/protocol.md says.
type simManager struct {
	s       *sim
	attempt int
	known   map[string]handover.Status // by pod, as last reported
	image   *simProcess
	resumed bool // RESUME has been sent for this image
	started bool // the copy
	gaveUp  bool
	dead    bool
	sent    []handover.Command
	asked   time.Time // when the last command was sent that is not answered
}

// simAttempts is how often the manager tries to get a good image.
const simAttempts = 4

// simPatience is how long the manager waits for an answer before it acts again.
const simPatience = 300 * time.Millisecond

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

// read reads one report.
func (m *simManager) read() any {
	var r handover.Report
	if err := json.Unmarshal(m.s.b.Take(simReports).Body, &r); err != nil {
		m.s.fail("not a report: %v", err)
	}
	m.known[r.Status.PodUID] = r.Status
	if r.Answers != "" {
		m.asked = time.Time{}
	}
	return fmt.Sprintf("%s %s of %s: %s attempt %d", r.Kind, r.Reason, r.Status.PodUID, r.Status.State, r.Status.Attempt)
}

func (m *simManager) send(pod string, kind handover.CommandKind, deadline time.Duration) any {
	c := handover.Command{Version: handover.Version, Kind: kind, Migration: simMigration, Attempt: m.attempt, Epoch: 1, PodUID: pod,
		DeadlineMillis: deadline.Milliseconds(), LeaseMillis: (20 * time.Second).Milliseconds(), ReportMillis: 200}
	if kind == handover.Prepare || kind == handover.StartReplay {
		c.ReplayQueue = handover.ReplayQueue(simMigration)
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
	src, tgt := m.known[simSourcePod], m.known[simTargetPod]
	deadline := 10 * time.Second
	if !m.s.calm() {
		deadline = pickOne(r, []time.Duration{300 * time.Millisecond, 2 * time.Second, 10 * time.Second})
	}
	switch d := m.decision(); {
	case d == handover.Commit:
		return m.send(m.anyPod(), handover.Retire, 0)
	case d == handover.Aborted:
		return m.send(m.anyPod(), handover.Abort, 0)
	case src.State == "":
		return m.send(simSourcePod, handover.Hello, 0)
	case m.image == nil && src.State == handover.Live:
		m.attempt = max(m.attempt, 1)
		return m.send(simSourcePod, handover.Prepare, deadline)
	case m.image == nil && src.State == handover.Paused && src.Attempt == m.attempt:
		m.image, m.resumed = m.s.procs[0].image("target", simTargetPod), false
		return "image at " + m.image.c.State()
	case m.image == nil && src.State == handover.Relaying, m.image != nil && !m.resumed && src.State == handover.Relaying:
		// It went on by itself, before or while the image was taken.
		m.image = nil
		if src.Attempt == m.attempt {
			m.attempt++
		}
		if m.attempt > simAttempts {
			m.giveUp()
			return "too many attempts"
		}
		return m.send(simSourcePod, handover.Prepare, deadline)
	case m.image != nil && src.State == handover.Paused:
		m.resumed = true
		return m.send(simSourcePod, handover.Resume, 0)
	case m.image != nil && !m.started && src.State == handover.Relaying:
		m.started = true
		m.s.procs = append(m.s.procs, m.image)
		m.image.wake()
		return "the copy wakes"
	case tgt.State == handover.Void:
		m.giveUp()
		return "the target is void"
	case tgt.State == handover.Restored:
		return m.send(simTargetPod, handover.StartReplay, time.Minute)
	case tgt.State == handover.Replaying && src.State == handover.Relaying && r.IntN(2) == 0:
		return m.send(simSourcePod, handover.Freeze, deadline)
	}
	return m.send(m.anyPod(), handover.Hello, 0)
}

func (m *simManager) anyPod() string {
	if m.started && m.s.r.IntN(2) == 0 {
		return simTargetPod
	}
	return simSourcePod
}
