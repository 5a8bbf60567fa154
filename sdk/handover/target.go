package handover

import (
	"bytes"
	"fmt"
	"time"
)

// wakeRestored makes a copy that woke Paused in another pod the target. It
// drops every delivery it woke with; the connection it woke with is dead.
func (in *Instance) wakeRestored() {
	in.drop()
	in.state, in.deadline = Restored, 0
	in.buffer, in.entries, in.items, in.current = nil, nil, nil, nil
	in.rate.reset()
	in.busy = 0
	in.renewLease()
}

// void makes a copy touch nothing any more.
func (in *Instance) void(why Reason, text string) {
	in.state, in.begun = Void, true
	in.why, in.whyText = why, text
	in.over()
	in.buffer, in.entries, in.items, in.current = nil, nil, nil, nil
	in.report(ReportVoid, "")
	in.drop()
}

func (in *Instance) startReplay(queue string, deadline time.Duration) {
	in.state, in.m.queue, in.deadline = Replaying, queue, deadline
}

// applyNext takes the next entry of the replay queue, and only the next.
func (in *Instance) applyNext() {
	for in.state == Replaying && in.current == nil && in.want == Undecided && len(in.entries) > 0 {
		e := in.entries[0]
		in.entries = in.entries[1:]
		in.emit(Credit{Tag: e.Tag})
		h := e.Header
		switch {
		case h.Kind == EntryEnd:
			in.atEnd(h)
		case h.Number <= in.number: // in the image, or published again
		case h.Number > in.number+1:
			in.giveUp(ReasonGap, fmt.Sprintf("entry %d follows %d in the replay queue", h.Number, in.number))
		default:
			it := &Item{Number: h.Number, Identity: h.Identity, Payload: e.Payload, expect: h.Outcome, began: in.now}
			in.current = it
			in.emit(Replay{Item: it, Records: h.Records})
		}
	}
}

// applied takes note of an applied entry. The handler must come to the
// source's outcome: if it does not, its state is not the source's.
func (in *Instance) applied(ev Handled) {
	it := ev.Item
	if ev.Outcome != it.expect {
		in.giveUp(ReasonOutcome, fmt.Sprintf("message %q (number %d) was %s by the source and %s in the replay", it.Identity, it.Number, it.expect, ev.Outcome))
		return
	}
	in.number = it.Number
	if ev.Outcome != Requeued {
		in.finished.add(it.Identity, ev.Outcome)
	}
	in.busy += in.now - it.began
	in.rate.observe(in.busy, in.number)
}

// atEnd is END_REPLAY: if the state is the source's, the target takes over.
func (in *Instance) atEnd(h EntryHeader) {
	if h.Number != in.number {
		in.giveUp(ReasonGap, fmt.Sprintf("END_REPLAY has number %d, the last entry applied was %d", h.Number, in.number))
		return
	}
	if len(h.Digest) > 0 && in.cfg.Digest != nil && !bytes.Equal(h.Digest, in.cfg.Digest()) {
		in.giveUp(ReasonDigest, fmt.Sprintf("the state's digest at number %d differs from the source's", in.number))
		return
	}
	in.want = Commit
}

// takeOver obeys COMMIT as the target: this pod is the state's home.
func (in *Instance) takeOver() {
	in.state, in.reading, in.entries = Live, false, nil
	in.confirmed = in.number
	in.over()
	in.emit(StopReplay{})
	// The primary first, then the report: the pause ends with the former.
	in.follow()
	in.report(ReportLive, "")
}
