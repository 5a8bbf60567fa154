// Package instancetest simulates instances of the consumer library for the
// manager's tests: the protocol's states, without messages.
package instancetest

import (
	"ms2m.dev/ms2m/sdk/handover"
)

// Instance is a simulated instance.
type Instance struct {
	handover.Status
	// ReplyTo is who sent it the last command of its migration: what it says unasked
	// goes there. A copy has it from its source.
	ReplyTo string
	// Reason is given in its reports.
	Reason handover.Reason
	// Mute keeps it from listening: commands to it are to be returned.
	Mute bool
	// RefusePrepare and RefuseFreeze make it refuse that often.
	RefusePrepare, RefuseFreeze int
	// Fence is what it was told to fence off; nil: it was not told TAKEOVER.
	Fence *string
	// Sequential is what its PREPARE said; a copy has it from its source, and a
	// fresh process in the target's pod from the hold.
	Sequential bool
	// Successor is what its FREEZE said.
	Successor string
	// Sibling is a process that was Held by the queue slot alone.
	Sibling bool
	// AtEnd is a copy that has applied END_REPLAY.
	AtEnd bool
	// gaveUp is a copy that wants ABORT.
	gaveUp bool
	// Behind is how far the target is behind, and stays.
	Behind uint64
}

// Take takes a command as docs/protocol.md says, and answers. decision is what
// stands at the broker.
func (in *Instance) Take(c handover.Command, decision handover.Decision) handover.Report {
	if c.Kind != handover.Hello && c.Migration == in.Migration && c.Epoch < in.Epoch {
		return in.refuse(c.Kind, handover.ReasonStale)
	}
	if in.State == handover.Live && c.Kind == handover.Prepare {
		in.Migration, in.Decision = c.Migration, handover.Undecided
	}
	if c.Migration == in.Migration {
		in.Epoch = max(in.Epoch, c.Epoch)
	}
	switch c.Kind {
	case handover.Prepare:
		if in.State != handover.Live && in.State != handover.Relaying {
			if in.Attempt == c.Attempt {
				break
			}
			return in.refuse(c.Kind, handover.ReasonWrongState)
		}
		in.Attempt, in.Sequential = c.Attempt, c.Sequential
		if in.RefusePrepare > 0 {
			in.RefusePrepare--
			return in.refuse(c.Kind, handover.ReasonDrainDeadline)
		}
		in.State, in.Number = handover.Paused, in.Number+1
	case handover.Resume:
		if in.State == handover.Paused {
			in.State, in.Confirmed, in.PauseMillis = handover.Relaying, in.Number, 12
		}
	case handover.StartReplay:
		if in.State == handover.Restored {
			in.State = handover.Replaying
		}
	case handover.TakeOver:
		if in.State == handover.Replaying {
			in.Fence = &c.FencePodUID
		}
	case handover.Freeze:
		if in.RefuseFreeze > 0 {
			in.RefuseFreeze--
			return in.refuse(c.Kind, handover.ReasonDrainDeadline)
		}
		if in.State == handover.Relaying {
			in.State, in.Successor = handover.Frozen, c.Successor
		}
	case handover.Abort, handover.Retire:
		in.Obey(decision)
	}
	return in.Report(in.Kind(), c.Kind)
}

// GiveUp makes it want ABORT.
func (in *Instance) GiveUp(why handover.Reason) { in.Reason, in.gaveUp = why, true }

// Wants is the decision that it writes by itself, if none stands: a sequential
// source at its END_REPLAY, a copy that has applied it, one that gave up. The
// test's world writes it, and lets it Obey what stands then.
func (in *Instance) Wants() handover.Decision {
	switch {
	case in.State == handover.Frozen && in.Sequential, in.State == handover.Replaying && in.AtEnd:
		return handover.Commit
	case in.gaveUp && (in.State == handover.Restored || in.State == handover.Replaying):
		return handover.Aborted
	}
	return handover.Undecided
}

// Obey does what the decision says.
func (in *Instance) Obey(d handover.Decision) {
	if d == handover.Undecided {
		return
	}
	in.Decision = d
	switch in.State {
	case handover.Held:
		switch {
		case d == handover.Commit && (in.Sibling || in.Sequential): // until the hold is gone
		case d == handover.Commit:
			in.State = handover.Retired
		default:
			in.State = handover.Live
		}
	case handover.Paused, handover.Relaying, handover.Frozen:
		in.State = handover.Live
		if d == handover.Commit {
			in.State = handover.Retired
		}
	case handover.Restored, handover.Replaying:
		in.obeyCopy(d)
	}
}

// obeyCopy: in a sequential migration COMMIT is the source's word, and only the
// end makes the copy live.
func (in *Instance) obeyCopy(d handover.Decision) {
	switch {
	case d == handover.Aborted, in.Sequential && in.gaveUp:
		in.State = handover.Void
	case !in.Sequential, in.State == handover.Replaying && in.AtEnd:
		in.State, in.AtEnd = handover.Live, false // a copy of it, in the next hop, has its end before it
	}
}

// Kind is the report that tells the state.
func (in *Instance) Kind() handover.ReportKind {
	switch in.State {
	case handover.Live:
		return handover.ReportLive
	case handover.Paused:
		return handover.ReportPrepared
	case handover.Relaying:
		return handover.ReportRelaying
	case handover.Frozen:
		return handover.ReportFrozen
	case handover.Retired:
		return handover.ReportRetired
	case handover.Replaying:
		return handover.ReportReplaying
	case handover.Void:
		return handover.ReportVoid
	}
	return handover.ReportHello
}

// Report is a report of that kind.
func (in *Instance) Report(kind handover.ReportKind, answers handover.CommandKind) handover.Report {
	return handover.Report{Version: handover.Version, Kind: kind, Answers: answers, Reason: in.Reason, Status: in.Status}
}

func (in *Instance) refuse(c handover.CommandKind, why handover.Reason) handover.Report {
	r := in.Report(handover.ReportRefused, c)
	r.Reason = why
	return r
}
