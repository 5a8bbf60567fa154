package handover

import (
	"fmt"
	"time"
)

// giveUp makes the instance write ABORT; what stands then is obeyed.
func (in *Instance) giveUp(why Reason, text string) {
	if !in.inMigration() || in.want == Commit {
		return // COMMIT may have been written, and only its answer be lost
	}
	in.want = Aborted
	in.why, in.whyText = why, text
}

// inMigration reports whether a decision would change what this instance does.
func (in *Instance) inMigration() bool {
	switch in.state {
	case Draining, Paused, Relaying, Finishing, Frozen, Restored, Replaying:
		return true
	}
	return false
}

// decided obeys what stands at the broker.
func (in *Instance) decided(d Decision) {
	if d == Undecided {
		return
	}
	wanted := in.want
	in.decision, in.want = d, Undecided
	if !in.begun {
		in.emit(ReadHold{}) // what to do with it depends on the hold
		return
	}
	switch in.state {
	case Draining, Paused, Relaying, Finishing, Frozen:
		if d == Commit {
			in.retire()
		} else {
			in.goOn()
		}
	case Restored, Replaying:
		in.decidedCopy(d, wanted)
	case Live:
		in.over()
		in.report(ReportLive, "")
	default:
		in.report(in.kindOfState(), "")
	}
}

// decidedCopy obeys what stands at the broker as a copy that wanted this.
// COMMIT is the word of the copy itself, which wrote it at the end of its
// replay. In a sequential migration it is the source's: then only the end makes
// the copy live, and one that gave up leaves the state to another copy of the
// same image.
func (in *Instance) decidedCopy(d, wanted Decision) {
	switch {
	case d == Commit && in.state == Replaying && (wanted == Commit || !in.m.sequential):
		in.takeOver()
	case d == Commit && in.m.sequential && wanted == Undecided:
		in.report(in.kindOfState(), "")
	default:
		in.void(in.reasonOr(ReasonAborted, string(d)+" stands at the broker"))
	}
}

func (in *Instance) reasonOr(r Reason, text string) (Reason, string) {
	if in.why != "" {
		return in.why, in.whyText
	}
	return r, text
}

// hold is what a process that starts finds in its place. See docs/protocol.md
// for the table.
func (in *Instance) hold(h *HoldView) {
	if in.begun {
		return
	}
	if h == nil {
		in.begin(Live)
		return
	}
	if h.Hold.Migration != in.m.uid { // the hold that was waited for is gone
		in.m.uid, in.heldFor, in.startAt, in.want = h.Hold.Migration, 0, 0, Undecided
	}
	in.decision, in.pollAt = h.Decision, in.now+pollInterval
	switch {
	case h.Decision == Commit && h.lasting():
		in.waitForRelease(time.Duration(h.Hold.DeadlineMillis) * time.Millisecond)
	case h.Decision == Undecided:
		if in.heldFor == 0 {
			in.heldFor = in.now + time.Duration(h.Hold.DeadlineMillis)*time.Millisecond
		}
	case h.Target == (h.Decision == Commit):
		in.begin(Live)
	case h.Target:
		in.void(ReasonAborted, "the migration that this pod was made for is aborted")
	default:
		in.begin(Retired)
	}
}

// waitForRelease keeps a process Held after COMMIT, until it finds no hold any
// more, but not for ever. It starts only with a hold just read: nothing else
// has been begun meanwhile.
func (in *Instance) waitForRelease(patience time.Duration) {
	in.heldFor = 0
	if in.startAt == 0 {
		in.startAt = in.now + patience
	}
	if in.now >= in.startAt {
		in.begin(Live)
	}
}

func (in *Instance) begin(s State) {
	in.begun, in.state, in.heldFor = true, s, 0
	in.over()
}

// expire acts on every deadline that has passed.
func (in *Instance) expire() {
	if in.deadline > 0 && in.now >= in.deadline {
		in.deadline = 0
		in.stateExpired()
	}
	if in.stallAt > 0 && in.now >= in.stallAt {
		in.stallAt = 0
		in.giveUp(ReasonRelayBroken, "the replay queue has confirmed nothing for too long")
	}
	if in.gapAt > 0 && in.now >= in.gapAt {
		in.gapAt = 0
		in.giveUp(ReasonGap, fmt.Sprintf("entry %d does not come in the replay queue", in.read+1))
	}
	if t := in.leaseEnd(); t > 0 && in.now >= t {
		in.m.leaseUntil = 0
		in.giveUp(ReasonDeadline, "no manager has been heard for the time of the lease")
	}
	if t := in.heldUntil(); t > 0 && in.now >= t {
		in.heldFor = 0
		in.want = Aborted
	}
	if t := in.nextReport(); t > 0 && in.now >= t {
		if in.state != Replaying {
			in.rate.observe(in.now, in.number)
		}
		in.m.reportAt = in.now + in.m.reportEvery
		in.report(ReportProgress, "")
	}
	if t := in.nextPoll(); t > 0 && in.now >= t {
		in.pollAt = in.now + pollInterval
		if in.begun {
			in.emit(ReadDecision{Migration: in.m.uid})
		} else {
			in.emit(ReadHold{})
		}
	}
}

func (in *Instance) stateExpired() {
	switch in.state {
	case Draining:
		in.state = in.drainedFrom
		in.refuse(Prepare, ReasonDrainDeadline, "handlers did not finish before the deadline")
	case Paused:
		in.resume("")
	case Finishing:
		in.state = Relaying
		in.refuse(Freeze, ReasonDrainDeadline, "handlers did not finish before the deadline")
	case Replaying:
		in.giveUp(ReasonDeadline, "the replay did not end before its deadline")
	}
}

func (in *Instance) renewLease() {
	if in.m.lease > 0 {
		in.m.leaseUntil = in.now + in.m.lease
	}
}

// leaseEnd is when the lease ends, if it binds. Draining and Paused have
// deadlines of their own, which lead to Relaying.
func (in *Instance) leaseEnd() time.Duration {
	switch in.state {
	case Relaying, Finishing, Frozen, Restored, Replaying:
		return in.m.leaseUntil
	}
	return 0
}

func (in *Instance) nextReport() time.Duration {
	switch in.state {
	case Relaying, Finishing, Replaying:
		if in.m.reportEvery > 0 && in.connected {
			return max(in.m.reportAt, 1)
		}
	}
	return 0
}

func (in *Instance) nextPoll() time.Duration {
	if in.connected && (in.state == Frozen || in.state == Held) {
		return in.pollAt
	}
	return 0
}

func (in *Instance) heldUntil() time.Duration {
	if in.state == Held {
		return in.heldFor
	}
	return 0
}
