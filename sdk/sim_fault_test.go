package sdk

import (
	"fmt"

	"ms2m.dev/ms2m/sdk/handover"
)

// fault does now and then something that goes wrong.
func (s *sim) fault() (simChoice, bool) {
	if s.calm() || s.r.IntN(s.rate) > 0 {
		return simChoice{}, false
	}
	what := s.disturb()
	if what != "" && s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%5d %s", s.n, what))
	}
	return simChoice{kind: "fault"}, what != ""
}

func (s *sim) disturb() string {
	o, r := s.o, s.r
	live := s.b.Conns()
	rarely := r.IntN(3) == 0
	switch r.IntN(9) {
	case 0, 1:
		if s.lost < o.cuts && len(live) > 0 {
			s.lost++
			c := pickOne(r, live)
			c.Cut()
			return fmt.Sprint("cut ", c)
		}
	case 2:
		if s.lost < o.cuts && len(live) > 0 {
			s.lost++
			c := pickOne(r, live)
			c.Forget()
			return fmt.Sprintf("the broker forgets %s, which does not know", c)
		}
	case 3:
		if s.restarts < o.restarts {
			s.restarts++
			s.refusals = r.IntN(3)
			s.b.Restart(r)
			return "the broker restarts"
		}
	case 4:
		if o.abort && !s.m.gaveUp && rarely {
			s.m.giveUp()
			return "the manager gives up"
		}
	case 5:
		switch {
		case !o.manager || s.m.dead || !rarely:
		case r.IntN(3) == 0:
			s.m.dead = true
			return "the manager dies for good"
		default:
			s.m.replaced()
			return "another manager"
		}
	case 6:
		if first := s.procs[0]; o.crashes > 0 && len(s.m.sent) == 0 && r.IntN(2) == 0 {
			first.crash(true) // an ordinary one, before anything is moved
			s.procs = []*simProcess{s.procs[len(s.procs)-1]}
			s.before = append(s.before, first)
			return "crash " + first.name
		}
		if p := pickOne(r, s.procs); s.crashes < o.crashes && !p.dead && s.m.held && (!o.sequential || p.pod == simSourcePod || p.c.State() != handover.Live) {
			s.crashes++
			p.crash(r.IntN(3) > 0)
			return "crash " + p.name
		}
	case 7:
		if o.gone && rarely && s.b.Queue(handover.ReplayQueue(simMigration)) != nil {
			s.b.Remove(handover.ReplayQueue(simMigration))
			return "the replay queue is removed"
		}
	case 8:
		if src := s.procs[0]; o.crashes > 0 && !src.dead && src.c.session == nil && s.m.held && !s.m.lost {
			s.m.lost, s.m.forced = true, true
			s.crashes++
			return "the source is taken for dead: its node is cut off, and its pod was deleted by force"
		}
	}
	return ""
}
