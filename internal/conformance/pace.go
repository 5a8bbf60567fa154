package conformance

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

func pace(d time.Duration) option {
	return func(c *handover.Command) { c.PaceMillis, c.DeadlineMillis = d.Milliseconds(), 60_000 }
}

// paced: a source that is slowed down. One that tells no pace in its status keeps none,
// and need not; it is only to take the command.
func paced(s *stage) {
	s.relaying()
	const every = 500 * time.Millisecond
	h := s.ask(handover.Hello, pace(every))
	keeps := h.Status.PaceMillis != 0
	s.check("pace.kept", !keeps || h.Status.PaceMillis == every.Milliseconds(), "paceMillis 500 in the status, or none", string(h.raw))
	began := time.Now()
	few := many("paced", 3)
	s.publish(few...)
	s.handled(few...)
	took := time.Since(began)
	s.check("pace.kept", !keeps || took >= 2*every-50*time.Millisecond, "three messages take a second at least", took)

	s.ask(handover.Hello, pace(time.Second))
	began = time.Now()
	more := many("freed", 6)
	s.publish(more...)
	h = s.ask(handover.Hello)
	s.check("pace.ends", h.Status.PaceMillis == 0, "no paceMillis in the status", string(h.raw))
	s.handled(more...)
	took = time.Since(began)
	s.check("pace.ends", took < 4*time.Second, "six messages, at a pace of a second until it was ended, take less than four", took)

	s.ask(handover.Hello, pace(time.Second))
	last := many("left", 6)
	s.publish(last...)
	since := s.now()
	began = time.Now()
	s.tell(handover.Freeze)
	_, ok := s.hear(since, s.cfg.Patience, func(h heard) bool { return h.Kind == handover.ReportFrozen })
	took = time.Since(began)
	s.check("pace.freeze", ok && took < 4*time.Second, "FROZEN in less than four seconds, with six messages waiting at a pace of one", fmt.Sprintf("%v after %v", ok, took))
}
