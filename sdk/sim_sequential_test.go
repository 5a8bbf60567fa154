package sdk

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

// actSequential does the next thing in a sequential migration: at COMMIT, or
// when its process is lost, the source's pod goes, and copies are made of the
// image, one after the other, until one is live.
func (m *simManager) actSequential(deadline time.Duration) any {
	src, tgt := m.known[simSourcePod], m.known[m.target]
	d := m.decision()
	_, bad := m.reasons[handover.ReasonNotPaused]
	if d == handover.Undecided {
		m.lost = m.lost || m.s.procs[0].dead
	}
	switch {
	case d == handover.Aborted:
		return m.send(m.anyPod(), handover.Abort, 0)
	case d == handover.Undecided && !m.lost:
		return m.freezeSequential(src, deadline)
	case m.image == nil:
		m.giveUp()
		return "gives up: the source is lost"
	case m.remove(simSourcePod):
		return "the source's pod is deleted"
	case m.target == "":
		m.copies++
		m.target = fmt.Sprint("pod-b", m.copies)
		m.image.another(fmt.Sprint("target", m.copies), m.target).wake()
		return "a copy wakes"
	case tgt.State == handover.Void && d == handover.Undecided && bad:
		m.giveUp()
		return "gives up: the source is lost, and the image no good"
	case tgt.State == handover.Void, tgt.State == handover.Held, !m.inhabited(m.target):
		m.remove(m.target)
		m.target = ""
		return "the copy's pod is deleted"
	case tgt.State == handover.Restored && m.copies < 3 && m.s.r.IntN(4) == 0:
		return m.send(m.target, handover.StartReplay, 50*time.Millisecond) // too short, perhaps
	case tgt.State == handover.Restored:
		return m.send(m.target, handover.StartReplay, time.Minute)
	case tgt.State == handover.Replaying && (m.lost || m.s.r.IntN(8) == 0):
		return m.send(m.target, handover.TakeOver, 0)
	}
	return m.send(m.target, handover.Retire, 0)
}

// freezeSequential gets an image that is good for certain, and freezes the source.
func (m *simManager) freezeSequential(src handover.Status, deadline time.Duration) any {
	switch {
	case src.State == "":
		return m.send(simSourcePod, handover.Hello, 0)
	case m.image != nil && m.resumed && src.State == handover.Relaying:
		return m.send(simSourcePod, handover.Freeze, deadline)
	}
	return m.checkpoint(src, deadline)
}

// remove deletes a pod; it is gone when its process is. A process that is only
// taken for dead lives on.
func (m *simManager) remove(pod string) (yes bool) {
	for i, p := range m.s.procs {
		if p.pod == pod && !p.dead && (i > 0 || !m.forced) {
			p.crash(false)
			yes = true
		}
	}
	return yes
}

// inhabited reports whether a process is in a pod.
func (m *simManager) inhabited(pod string) bool {
	for _, p := range m.s.procs {
		if p.pod == pod && !p.dead {
			return true
		}
	}
	return false
}

// another is another copy of an image.
func (p *simProcess) another(name, pod string) *simProcess {
	t := p.image(name, pod)
	t.imaged = p.imaged
	return t
}
