package handover

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// command takes a command of a manager.
func (in *Instance) command(ev Commanded) {
	c := ev.Command
	if r, text := in.check(c); r != "" {
		in.answer(ev, Report{Kind: ReportRefused, Answers: c.Kind, Reason: r, Message: text})
		return
	}
	if c.Kind == Hello && c.Migration != in.m.uid {
		in.answer(ev, Report{Kind: ReportHello, Answers: Hello})
		return
	}
	if (c.Kind == Abort || c.Kind == Retire) && c.Migration != in.m.uid && in.begun {
		in.end(c.Migration) // given up before its PREPARE came: that one may be late
	}
	if slices.Contains(in.ended, c.Migration) && c.Kind != Hello {
		in.afterwards(ev)
		return
	}
	in.join(ev)
	switch c.Kind {
	case Hello:
		in.answer(ev, Report{Kind: ReportHello, Answers: Hello, Reason: in.why, Message: in.whyText})
	case Abort, Retire:
		if in.begun {
			in.emit(ReadDecision{Migration: c.Migration})
		} else {
			in.emit(ReadHold{})
		}
	default:
		in.transition(ev)
	}
}

// check refuses what is stale, foreign or not understood.
func (in *Instance) check(c Command) (Reason, string) {
	switch {
	case c.Version != Version:
		return ReasonVersion, fmt.Sprintf("protocol version %d, this instance speaks %d", c.Version, Version)
	case c.PodUID != in.pod:
		return ReasonForeign, fmt.Sprintf("the command is for pod %s, this is %s", c.PodUID, in.pod)
	case c.Kind == Hello:
		return "", ""
	case c.DeadlineMillis <= 0 && (c.Kind == Prepare || c.Kind == Freeze || c.Kind == StartReplay), c.LeaseMillis <= 0 && c.Kind == Prepare:
		return ReasonUnbounded, fmt.Sprintf("%s needs deadlineMillis, and PREPARE leaseMillis: nobody waits without a deadline", c.Kind)
	case c.Migration == in.m.uid && c.Epoch < in.m.epoch:
		return ReasonStale, fmt.Sprintf("epoch %d, a manager of epoch %d has taken over", c.Epoch, in.m.epoch)
	case c.Migration == in.m.uid && c.Attempt < in.m.attempt:
		return ReasonStale, fmt.Sprintf("attempt %d, this is attempt %d", c.Attempt, in.m.attempt)
	case c.Migration != in.m.uid && in.inMigration():
		return ReasonForeign, fmt.Sprintf("migration %s, under way is %s", c.Migration, in.m.uid)
	}
	return "", ""
}

// afterwards answers a command of a migration that is over for this instance:
// it never begins again, however late a PREPARE comes.
func (in *Instance) afterwards(ev Commanded) {
	switch ev.Command.Kind {
	case Prepare, Resume, Freeze, StartReplay, TakeOver:
		if (ev.Command.Kind == StartReplay || ev.Command.Kind == TakeOver) && in.state == Live {
			break // repeated to the target that has taken over
		}
		in.answer(ev, Report{Kind: ReportRefused, Answers: ev.Command.Kind, Reason: ReasonStale, Message: "the migration is over for this instance"})
		return
	}
	in.answer(ev, Report{Kind: in.kindOfState(), Answers: ev.Command.Kind, Reason: in.why, Message: in.whyText})
}

// join takes over what the command says about its migration. Only PREPARE
// brings an instance into a migration.
func (in *Instance) join(ev Commanded) {
	c := ev.Command
	if c.Migration != in.m.uid {
		if c.Kind != Prepare || in.state != Live {
			return
		}
		in.over() // of one that PREPARE did not get beyond Live
		in.m = membership{uid: c.Migration}
		in.decision, in.why, in.whyText = Undecided, "", ""
	}
	if c.Epoch < in.m.epoch {
		return // HELLO of a manager that another has followed: answered, and no more
	}
	in.m.epoch = c.Epoch
	in.m.replyTo = ev.ReplyTo
	if c.LeaseMillis > 0 {
		in.m.lease = millis(c.LeaseMillis)
	}
	if c.ReportMillis > 0 {
		in.m.reportEvery = millis(c.ReportMillis)
		in.m.reportAt = min(in.m.reportAt, in.now+in.m.reportEvery)
	}
	in.keepPace(c)
	in.renewLease()
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// transition is the table of docs/protocol.md.
func (in *Instance) transition(ev Commanded) {
	c := ev.Command
	deadline := in.now + millis(c.DeadlineMillis)
	again := c.Attempt == in.m.attempt
	switch {
	case c.Kind == Prepare && (in.state == Live || in.state == Relaying && !again) && c.Migration == in.m.uid:
		in.m.attempt, in.m.queue, in.m.sequential, in.m.successor = c.Attempt, c.ReplayQueue, c.Sequential, ""
		in.m.predecessor = c.Predecessor
		in.prepare(deadline)
	case c.Kind == Prepare && again && (in.state == Paused || in.state == Relaying):
		in.answer(ev, Report{Kind: in.kindOfState(), Answers: Prepare})
	case c.Kind == Prepare && again && in.state == Draining: // answered at the safe point
	case c.Kind == Resume && again && in.state == Paused:
		in.resume(Resume)
	case c.Kind == Resume && again && in.state == Relaying:
		in.answer(ev, Report{Kind: ReportRelaying, Answers: Resume})
	case c.Kind == Freeze && again && in.state == Relaying && in.m.sequential && !in.m.vouched:
		// RESUME may have come when it had gone on by itself, and was answered:
		// whoever sent it need not know. The image cannot be tried before there is
		// no way back.
		in.answer(ev, Report{Kind: ReportRefused, Answers: Freeze, Reason: ReasonNotPaused,
			Message: "it went on by itself at the deadline of PREPARE: an image of this attempt need not be of the safe point"})
	case c.Kind == Freeze && again && in.state == Relaying:
		in.m.successor = c.Successor
		in.freeze(deadline)
	case c.Kind == Freeze && again && in.state == Finishing: // answered at END_REPLAY
		in.m.successor = cmp.Or(c.Successor, in.m.successor)
	case c.Kind == Freeze && again && in.state == Frozen:
		in.m.successor = cmp.Or(c.Successor, in.m.successor)
		in.answer(ev, Report{Kind: ReportFrozen, Answers: Freeze})
	case c.Kind == StartReplay && again && in.state == Restored:
		in.startReplay(c.ReplayQueue, deadline)
		in.answer(ev, Report{Kind: ReportReplaying, Answers: StartReplay})
	case c.Kind == StartReplay && again && in.state == Replaying:
		in.answer(ev, Report{Kind: ReportReplaying, Answers: StartReplay})
	case c.Kind == TakeOver && again && in.state == Replaying:
		in.take.asked, in.take.pod = true, c.FencePodUID
		in.answer(ev, Report{Kind: ReportReplaying, Answers: TakeOver})
	default:
		in.answer(ev, Report{Kind: ReportRefused, Answers: c.Kind, Reason: ReasonWrongState,
			Message: fmt.Sprintf("%s of attempt %d does not apply to %s in attempt %d", c.Kind, c.Attempt, in.state, in.m.attempt)})
	}
}

// kindOfState is the report that tells the present state.
func (in *Instance) kindOfState() ReportKind {
	switch in.state {
	case Live:
		return ReportLive
	case Paused:
		return ReportPrepared
	case Relaying:
		return ReportRelaying
	case Replaying:
		return ReportReplaying
	case Frozen:
		return ReportFrozen
	case Retired:
		return ReportRetired
	case Void:
		return ReportVoid
	}
	return ReportHello
}

// report tells the manager of the migration something unasked, or the late
// answer to the command named.
func (in *Instance) report(kind ReportKind, answers CommandKind) {
	in.tell(Report{Kind: kind, Answers: answers, Reason: in.why, Message: in.whyText})
}

func (in *Instance) refuse(c CommandKind, why Reason, text string) {
	in.tell(Report{Kind: ReportRefused, Answers: c, Reason: why, Message: text})
}

func (in *Instance) tell(r Report) {
	if in.connected && in.m.replyTo != "" {
		in.send(in.m.replyTo, "", r)
	}
}

func (in *Instance) answer(ev Commanded, r Report) {
	if in.connected && ev.ReplyTo != "" {
		in.send(ev.ReplyTo, ev.CorrelationID, r)
	}
}

func (in *Instance) send(to, correlation string, r Report) {
	r.Version, r.Status = Version, in.Status()
	in.emit(Send{To: to, CorrelationID: correlation, Report: r})
}

// Status is where the instance stands.
func (in *Instance) Status() Status {
	s := Status{
		PodUID:      in.pod,
		Incarnation: in.cfg.Incarnation,
		State:       in.state,
		Migration:   in.m.uid,
		Attempt:     in.m.attempt,
		Epoch:       in.m.epoch,
		Queue:       in.cfg.Queue,
		Queues:      in.cfg.Queues,
		Prefetch:    in.cfg.Prefetch,
		Identity:    in.cfg.Identity,
		OwnerOnly:   in.cfg.OwnerOnly,
		Decision:    in.decision,
		Number:      in.done(),
		Confirmed:   in.confirmed,
		Rate:        in.rate.perSecond(),
		PauseMillis: in.pause.Milliseconds(),
		PaceMillis:  in.paced().Milliseconds(),
	}
	switch {
	case in.state == Replaying:
		s.Rate = in.effort.perSecond()
	case in.Owner() && in.cfg.Concurrency <= 1:
		s.Capacity = in.effort.perSecond()
	}
	if in.nameless {
		s.Identity = IdentityNone
	}
	return s
}
