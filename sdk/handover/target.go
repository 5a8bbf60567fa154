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
	in.buffer, in.entries, in.items, in.running = nil, nil, nil, nil
	in.effort = effort{}
	in.renewLease()
}

// void makes a copy touch nothing any more.
func (in *Instance) void(why Reason, text string) {
	in.state, in.begun = Void, true
	in.why, in.whyText = why, text
	in.over()
	in.buffer, in.entries, in.items, in.running = nil, nil, nil, nil
	in.report(ReportVoid, "")
	in.drop()
}

func (in *Instance) startReplay(queue string, deadline time.Duration) {
	in.state, in.m.queue, in.deadline = Replaying, queue, deadline
}

// enter takes an entry that was read. Entries come in the order of their
// numbers, but for those that the source published again; of an entry that was
// returned and its successor that was not, the successor comes twice.
func (in *Instance) enter(ev Entered) {
	if in.state != Replaying || in.want != Undecided {
		return
	}
	in.tag = ev.Tag
	h := ev.Header
	switch {
	case h.Kind == EntryEnd:
		in.entries = append(in.entries, ev)
	case h.Number > in.read+1:
		if in.gapAt == 0 {
			in.gapAt = in.now + relayPatience
		}
	case h.Number <= in.read: // in the image, or published again
	case h.Number <= in.number || in.ahead[h.Number]: // begun before the connection was lost
		in.read, in.gapAt = h.Number, 0
	default:
		in.read, in.gapAt = h.Number, 0
		in.entries = append(in.entries, ev)
	}
}

// applyNext begins entries: of each key the next, as long as none of that key
// is at work and there is room. END_REPLAY waits for all before it.
func (in *Instance) applyNext() {
	if in.state != Replaying || in.want != Undecided {
		return
	}
	var keys map[string]bool
	if len(in.entries) > 0 {
		keys = in.keys()
	}
	waiting := in.entries[:0]
	for i, e := range in.entries {
		if e.Header.Kind == EntryEnd && len(waiting) == 0 && len(in.running) == 0 {
			in.atEnd(e.Header)
			continue
		}
		if e.Header.Kind == EntryEnd || in.want != Undecided {
			waiting = append(waiting, in.entries[i:]...)
			break
		}
		if !in.room() || keys[e.Key] {
			keys[e.Key] = true
			waiting = append(waiting, e)
			continue
		}
		keys[e.Key] = true
		in.apply(e)
	}
	clear(in.entries[len(waiting):])
	in.entries = waiting
	in.credit()
}

// apply begins an entry.
func (in *Instance) apply(e Entered) {
	h := e.Header
	it := &Item{Number: h.Number, Queue: h.Queue, Identity: h.Identity, Key: e.Key, Payload: e.Payload, expect: h.Outcome}
	if len(in.running) == 0 {
		in.effort.begins(in.now)
	}
	in.running = append(in.running, it)
	in.countBegun(h.Number)
	in.emit(Replay{Item: it, Records: h.Records})
}

// credit lets the broker send as many more entries as are out of hand, from
// the front.
func (in *Instance) credit() {
	taken := in.tag
	if len(in.entries) > 0 {
		taken = in.entries[0].Tag - 1
	}
	if taken > in.credited && in.connected {
		in.credited = taken
		in.emit(Credit{Tag: taken})
	}
}

// countBegun notes that an entry is begun: it is never begun again, whatever
// is read on later connections.
func (in *Instance) countBegun(n uint64) {
	if in.ahead == nil {
		in.ahead = map[uint64]bool{}
	}
	in.ahead[n] = true
	for in.ahead[in.number+1] {
		in.number++
		delete(in.ahead, in.number)
	}
}

// done is the number up to which everything is handled, or applied.
func (in *Instance) done() uint64 {
	n := in.number
	if in.state == Replaying {
		for _, it := range in.running {
			n = min(n, it.Number-1)
		}
	}
	return n
}

// applied takes note of an applied entry. The handler must come to the
// source's outcome: if it does not, its state is not the source's.
func (in *Instance) applied(ev Handled) {
	it := ev.Item
	if ev.Outcome != it.expect {
		in.giveUp(ReasonOutcome, fmt.Sprintf("message %q (number %d) was %s by the source and %s in the replay", it.Identity, it.Number, it.expect, ev.Outcome))
		return
	}
	if ev.Outcome != Requeued {
		in.finished.add(it.Queue, it.Identity, ev.Outcome)
	}
	in.effort.ended(in.now, in.done())
}

// atEnd is END_REPLAY: if the state is the source's, the target takes over.
func (in *Instance) atEnd(h EntryHeader) {
	switch {
	case h.Takeover != "":
		if h.Takeover != in.take.token {
			return // of an earlier connection, whose fence is gone with it
		}
	case h.Number != in.number:
		in.giveUp(ReasonGap, fmt.Sprintf("END_REPLAY has number %d, the last entry applied was %d", h.Number, in.number))
		return
	case len(h.Digest) > 0 && in.cfg.Digest != nil && !bytes.Equal(h.Digest, in.cfg.Digest()):
		in.giveUp(ReasonDigest, fmt.Sprintf("the state's digest at number %d differs from the source's", in.number))
		return
	}
	in.want, in.ceded = Commit, h.Released
}

// takeOver obeys COMMIT as the target: this pod is the state's home.
func (in *Instance) takeOver() {
	in.state, in.reading, in.entries = Live, false, nil
	in.confirmed = in.number
	in.over()
	in.unfence()
	// The primary first, then the report: the pause ends with the former. The
	// replay queue can wait; what still comes of it is passed over.
	in.follow()
	in.report(ReportLive, "")
	in.emit(StopReplay{})
}
