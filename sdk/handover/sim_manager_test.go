package handover

import (
	"fmt"
	"time"
)

// simManager drives the hand-over by what it can know, as docs/protocol.md
// says. It may give up at any moment, be replaced by another, or die for good.
type simManager struct {
	attempt int
	spent   int // the last attempt whose image was no good
	epoch   int64
	target  string      // pod of the present attempt
	image   *simProcess // the copy, not yet started
	lost    bool        // the source's process is taken for dead
	gaveUp  bool
	dead    bool
}

func (s *sim) command(m *simManager, p *simProcess, kind CommandKind, deadline time.Duration) {
	c := Command{
		Version: Version, Kind: kind, Migration: simMigration, Attempt: m.attempt, Epoch: m.epoch,
		PodUID: p.pod, ReplayQueue: "r", DeadlineMillis: deadline.Milliseconds(), LeaseMillis: 60_000}
	if kind == TakeOver {
		c.FencePodUID = simSource
		if n := s.in(simSource); n != nil && n.lost && n.in.connected {
			c.FencePodUID = "" // a newcomer has said HELLO there
		}
	}
	s.sent = append(s.sent, c)
	s.hand(c)
}

// hand hands a command to whoever listens in the pod it is for.
func (s *sim) hand(c Command) {
	if conn := s.b.controls(c.PodUID); conn != nil && conn.p.pod == c.PodUID && !conn.half && len(conn.inbox) < 8 {
		conn.inbox = append(conn.inbox, Commanded{ReplyTo: "manager", Command: c})
	}
}

// move lets the manager do the next thing, if there is one.
func (m *simManager) move(s *sim) {
	if m.dead {
		return
	}
	src := s.in(simSource)
	state := State("")
	if src != nil {
		state = src.in.State()
	}
	tgt := s.in(m.target)
	m.lost = m.lost || src == nil || src.lost
	switch {
	case s.b.decision != Undecided || m.gaveUp:
		for _, p := range s.procs {
			if !p.dead && (p.in.inMigration() || p.in.State() == Held) {
				s.command(m, p, Abort, 0)
			}
		}
	case m.lost && m.attempt == 0:
		m.giveUp(s)
	case m.image == nil && tgt == nil:
		m.checkpoint(s, src, state)
	case m.image != nil:
		if state == Paused && s.r.IntN(3) > 0 {
			s.command(m, src, Resume, 0)
			return
		}
		s.procs = append(s.procs, m.image)
		s.step(m.image, Disconnected{}) // it wakes with a connection that is dead
		m.image = nil
	case tgt.in.State() == Held, tgt.in.State() == Void && tgt.in.why != ReasonNotPaused:
		m.giveUp(s)
	case tgt.in.State() == Void: // another attempt, another pod
		tgt.dead = true
		if tgt.conn != nil {
			s.b.drop(tgt.conn)
			tgt.conn = nil
		}
		m.target, m.spent = "", m.attempt
	case tgt.in.State() == Restored:
		s.command(m, tgt, StartReplay, 30*time.Second)
	case m.lost:
		s.command(m, tgt, TakeOver, 0)
	case state == Paused:
		s.command(m, src, Resume, 0)
	case state == Relaying && s.r.IntN(4) == 0:
		s.command(m, src, Freeze, 20*time.Second)
	}
}

// checkpoint gets a good image, or one that is taken too late if the options say so.
func (m *simManager) checkpoint(s *sim, src *simProcess, state State) {
	switch {
	case m.lost, m.attempt > 5:
		m.giveUp(s)
	case state == Live, state == Relaying && src.in.m.attempt == m.attempt:
		m.attempt = max(1, src.in.m.attempt+1)
		s.b.held = true
		s.command(m, src, Prepare, 20*time.Second)
	case state == Paused && src.in.m.attempt == m.attempt || s.o.lateImages && m.attempt > m.spent && s.r.IntN(4) == 0:
		m.target = fmt.Sprint("pod-b", m.attempt)
		m.image = src.copy(m.target)
	}
}

func (m *simManager) giveUp(s *sim) {
	m.gaveUp = true
	s.b.decide(Aborted)
}

// replaced lets another manager take over, with a higher epoch. It knows what
// the first had written into the status.
func (m *simManager) replaced() { m.epoch++ }
