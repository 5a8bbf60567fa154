package handover

import "time"

// prepare begins to drain.
func (in *Instance) prepare(deadline time.Duration) {
	in.drainedFrom, in.state = in.state, Draining
	in.preparedAt, in.deadline = in.now, deadline
}

// reachSafePoint: no handler runs, and outputs, entries and acknowledgements
// are flushed. An acknowledgement that is lost with its connection comes back
// as a redelivery that is known to be finished, in source and copy alike.
func (in *Instance) reachSafePoint() {
	if in.state != Draining || in.InHand() > 0 || !in.connected {
		return
	}
	in.state = Paused
	in.report(ReportPrepared, Prepare)
}

// resume goes on after the checkpoint, by RESUME or at the deadline of PREPARE.
func (in *Instance) resume(answers CommandKind) {
	in.state, in.deadline = Relaying, 0
	in.pause = in.now - in.preparedAt
	in.m.vouched = answers == Resume
	in.confirmed = max(in.confirmed, in.number)
	in.renewLease()
	in.rate.observe(in.now, in.number) // else one that has long been idle tells what it did before
	in.report(ReportRelaying, answers)
}

// freeze stops beginning; what is begun is finished.
func (in *Instance) freeze(deadline time.Duration) {
	in.state, in.deadline = Finishing, deadline
}

// reachEnd writes END_REPLAY when nothing is in hand any more and the broker
// has back what was not begun: a delivery that stayed with this connection
// would reach the target late, behind its successors. From the moment that
// END_REPLAY is published the target may commit, so no deadline leads back to
// Relaying after it: only the decision does.
func (in *Instance) reachEnd() {
	if in.state != Finishing || !in.connected || in.endOut || in.InHand() > 0 {
		return
	}
	if in.primary == consuming {
		in.primary, in.buffer = releasing, nil
		in.emit(Release{})
	}
	if in.primary != idle {
		return
	}
	in.endSent, in.endOut, in.deadline = true, true, 0
	in.stallAt = in.now + relayPatience
	var digest []byte
	if in.cfg.Digest != nil {
		digest = in.cfg.Digest()
	}
	in.emit(PublishEnd{Migration: in.m.uid, Queue: in.m.queue, Number: in.number, Digest: digest, Released: in.released})
}

// endConfirmed notes that END_REPLAY is in the queue. It may be that of a migration
// that was aborted before its confirm came, while the next one is finishing already.
func (in *Instance) endConfirmed(migration string) {
	if in.state != Finishing || migration != in.m.uid {
		return
	}
	in.state, in.pollAt = Frozen, in.now+pollInterval
	in.relayMoves()
	if in.m.sequential && in.want == Undecided {
		// Nobody else is there to write it, and with the source gone nobody may
		// be able to write ABORT: END_REPLAY is the point of no return.
		in.want = Commit
	}
	in.report(ReportFrozen, Freeze)
}

// retire obeys COMMIT: the state lives elsewhere.
func (in *Instance) retire() {
	in.state = Retired
	in.over()
	in.items, in.running, in.buffer = nil, nil, nil
	in.report(ReportRetired, "")
	in.drop()
}

// goOn obeys ABORT: the source is live as if nothing had happened. Entries
// that are not confirmed need not be any more.
func (in *Instance) goOn() {
	in.state = Live
	in.over()
	in.report(ReportLive, "")
}
