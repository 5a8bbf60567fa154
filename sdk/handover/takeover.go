package handover

import "fmt"

// takeover is what a target does in the place of a source whose process is
// proven dead: it ends the replay queue itself.
//
// What the source has had confirmed, and so may have acknowledged, is in the
// queue by then; everything else the broker gives to the target. That holds if
// no process of the source takes messages after the end is written: hence the
// fence, which a process that only seemed dead (its node was cut off) does not
// get past before it has read the decision.
type takeover struct {
	asked   bool
	pod     string // to be fenced; empty: a newcomer is known to be there
	count   int    // of the ends written, for the token
	fencing bool   // … on this connection
	fenced  bool
	token   string // of the end written on this connection
}

// takeThePlace fences the source off, and then writes END_REPLAY. Both are
// bound to the connection: the fence ends with it.
func (in *Instance) takeThePlace() {
	t := &in.take
	if in.state != Replaying || in.want != Undecided || !in.connected || !t.asked {
		return
	}
	if t.pod == "" || in.decision == Commit {
		// Behind COMMIT the queue is whole: the source's END_REPLAY is in it, or
		// an earlier copy had the fence. A source that came back and read COMMIT
		// would keep its control queue for as long as it lives.
		t.fenced = true
	}
	switch {
	case !t.fenced && !t.fencing:
		t.fencing = true
		in.emit(Fence{Pod: t.pod})
	case t.fenced && t.token == "":
		t.count++
		t.token = fmt.Sprintf("%s/%d", in.pod, t.count)
		in.emit(PublishEnd{Migration: in.m.uid, Queue: in.m.queue, Takeover: t.token})
	}
}

// unfence lets go of the source's control queue: whoever comes back there finds
// the decision.
func (in *Instance) unfence() {
	if in.connected && in.take.fencing {
		in.emit(Unfence{})
	}
	in.take = takeover{}
}
