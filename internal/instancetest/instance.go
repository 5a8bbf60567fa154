// Package instancetest simulates instances of the consumer library for the
// manager's tests: the protocol's states, without messages.
package instancetest

import (
	"ms2m.dev/ms2m/sdk/handover"
)

// Instance is a simulated instance.
type Instance struct {
	handover.Status
	// Reason is given in its reports.
	Reason handover.Reason
	// Mute keeps it from listening: commands to it are to be returned.
	Mute bool
	// RefusePrepare and RefuseFreeze make it refuse that often.
	RefusePrepare, RefuseFreeze int
	// Fence is what it was told to fence off; nil: it was not told TAKEOVER.
	Fence *string
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
		in.Attempt = c.Attempt
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
			in.State = handover.Frozen
		}
	case handover.Abort, handover.Retire:
		in.Obey(decision)
	}
	return in.Report(in.Kind(), c.Kind)
}

// Obey does what the decision says.
func (in *Instance) Obey(d handover.Decision) {
	if d == handover.Undecided {
		return
	}
	in.Decision = d
	switch in.State {
	case handover.Paused, handover.Relaying, handover.Frozen, handover.Held:
		in.State = handover.Live
		if d == handover.Commit {
			in.State = handover.Retired
		}
	case handover.Restored, handover.Replaying:
		in.State = handover.Void
		if d == handover.Commit {
			in.State = handover.Live
		}
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
