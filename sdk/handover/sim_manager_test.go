package handover

import (
	"fmt"
	"slices"
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
	zombie  *simProcess // … though it lives
	copies  int         // made of the image, in a sequential migration
	gaveUp  bool
	dead    bool
}

func (s *sim) command(m *simManager, p *simProcess, kind CommandKind, deadline time.Duration) {
	c := Command{
		Version: Version, Kind: kind, Migration: simMigration, Attempt: m.attempt, Epoch: m.epoch,
		PodUID: p.pod, ReplayQueue: "r", DeadlineMillis: deadline.Milliseconds(), LeaseMillis: 60_000, Sequential: kind == Prepare && s.o.sequential}
	if kind == TakeOver {
		c.FencePodUID = simSource
		if n := s.in(simSource); n != nil && n.lost && n.in.connected {
			c.FencePodUID = "" // a newcomer has said HELLO there
		}
	}
	if kind == Hello {
		c.PaceMillis = []int64{0, 5, 300, 60_000}[s.r.IntN(4)]
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
	if s.o.sequential {
		m.moveSequential(s)
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
	case s.r.IntN(3) == 0: // which paces it if it relays, and nobody else
		s.command(m, src, Hello, 2*time.Second)
	}
}

// moveSequential is move in a sequential migration: at COMMIT the source goes,
// and copies are made of the image, one after the other, until one is live.
func (m *simManager) moveSequential(s *sim) {
	src, tgt := s.in(simSource), s.in(m.target)
	if s.b.decision == Undecided {
		m.lost = m.lost || src == nil || src.lost
	}
	switch {
	case s.b.decision == Aborted:
		for _, p := range s.procs {
			if !p.dead && (p.in.inMigration() || p.in.State() == Held) {
				s.command(m, p, Abort, 0)
			}
		}
	case s.b.decision == Undecided && !m.lost:
		m.freezeSequential(s, src)
	case m.image == nil:
		m.giveUp(s)
	case src != nil && src != m.zombie: // its pod must be gone before its owner makes another
		s.command(m, src, Retire, 0)
		if s.r.IntN(2) == 0 {
			s.crash(src, s.o.half && s.r.IntN(2) == 0, false)
		}
	case tgt == nil:
		s.bury()
		m.copies++
		m.target = fmt.Sprint("pod-b", m.copies)
		tgt = m.image.copy(m.target)
		tgt.name += fmt.Sprint(m.copies)
		s.procs = append(s.procs, tgt)
		s.step(tgt, Disconnected{})
	case tgt.in.State() == Restored:
		deadline := 100 * time.Second
		if m.copies <= s.o.copies && s.r.IntN(2) == 0 {
			deadline = time.Second // which may be too short
		}
		s.command(m, tgt, StartReplay, deadline)
	case tgt.in.State() == Replaying && (m.lost || s.r.IntN(8) == 0):
		s.command(m, tgt, TakeOver, 0)
	case tgt.in.State() == Replaying && s.r.IntN(4) == 0:
		s.command(m, tgt, Retire, 0)
	case tgt.in.State() == Replaying:
	case tgt.in.State() != Live: // Void, or a fresh process
		s.crash(tgt, s.o.half && s.r.IntN(2) == 0, false)
	}
}

// bury takes out what can do nothing any more, but for the source.
func (s *sim) bury() {
	s.procs = slices.DeleteFunc(s.procs, func(p *simProcess) bool {
		if p.dead && p.pod != simSource {
			s.gone = append(s.gone, p)
			return true
		}
		return false
	})
}

// freezeSequential gets an image that is good for certain, for it cannot be
// tried before there is no way back, and freezes the source.
func (m *simManager) freezeSequential(s *sim, src *simProcess) {
	state := src.in.State()
	switch {
	case s.r.IntN(8) == 0:
		s.command(m, src, Hello, 2*time.Second)
	case state == Paused && m.image == nil && src.in.m.attempt == m.attempt:
		m.image = src.copy("")
	case state == Paused:
		s.command(m, src, Resume, 0)
	case m.image == nil:
		m.checkpoint(s, src, state)
	case state == Relaying && s.r.IntN(4) == 0:
		s.command(m, src, Freeze, 20*time.Second)
		if !src.in.m.vouched { // it is refused: it went on by itself
			m.image = nil
		}
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
