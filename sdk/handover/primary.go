package handover

import "slices"

// deliver takes a message of a primary queue.
func (in *Instance) deliver(d Delivered) {
	if in.primary != consuming {
		return // on its way when the primary was released: the broker has it back
	}
	if d.Identity == "" {
		in.nameless = true
	}
	if it := in.inHand(d.Queue, d.Identity); it != nil {
		if it.tag == 0 {
			it.tag = d.Tag // redelivered after a lost connection: settled when its item is
		} else {
			in.emit(Settle{Tag: d.Tag, Outcome: Done}) // published twice: it counts once
		}
		return
	}
	if o, ok := in.finished.find(d.Queue, d.Identity); ok {
		in.emit(Settle{Tag: d.Tag, Outcome: o})
		return
	}
	in.buffer = append(in.buffer, d)
}

func (in *Instance) inHand(queue, identity string) *Item {
	if identity == "" {
		return nil
	}
	for _, list := range [][]*Item{in.running, in.items} {
		for _, it := range list {
			if it.Identity == identity && it.Queue == queue {
				return it
			}
		}
	}
	return nil
}

// room reports whether another handler may run.
func (in *Instance) room() bool { return len(in.running) < max(1, in.cfg.Concurrency) }

// keys are the keys whose next message has to wait.
func (in *Instance) keys() map[string]bool {
	keys := make(map[string]bool, len(in.running)+1)
	for _, it := range in.running {
		keys[it.Key] = true
	}
	return keys
}

// beginNext starts handlers: of each key the next message that waits, as long
// as none of that key is at work, there is room, and the pace is kept.
func (in *Instance) beginNext() {
	if in.state != Live && in.state != Relaying || !in.begun || in.stopping || len(in.buffer) == 0 || !in.room() || in.early() {
		return
	}
	keys := in.keys()
	waiting := in.buffer[:0]
	for _, d := range in.buffer {
		// The same message may be here twice if it was published twice.
		if o, ok := in.finished.find(d.Queue, d.Identity); ok {
			in.emit(Settle{Tag: d.Tag, Outcome: o})
			continue
		}
		if !in.room() || in.early() || keys[d.Key] || in.inHand(d.Queue, d.Identity) != nil {
			keys[d.Key] = true
			waiting = append(waiting, d)
			continue
		}
		keys[d.Key] = true
		it := &Item{Queue: d.Queue, Identity: d.Identity, Key: d.Key, Payload: d.Payload, tag: d.Tag}
		if len(in.running) == 0 {
			in.effort.begins(in.now)
		}
		in.running, in.pace.begun = append(in.running, it), in.now
		in.emit(Begin{Item: it})
	}
	clear(in.buffer[len(waiting):])
	in.buffer = waiting
}

// handled takes note of a handler's return: from here on the message is part
// of the state, under its number.
func (in *Instance) handled(ev Handled) {
	i := slices.Index(in.running, ev.Item)
	if i < 0 {
		return // of a state that was left meanwhile
	}
	in.running = slices.Delete(in.running, i, i+1)
	if in.state == Replaying {
		in.applied(ev)
		return
	}
	in.number++
	in.rate.observe(in.now, in.number)
	in.effort.ended(in.now, in.number)
	it := ev.Item
	it.Number, it.Outcome, it.stage = in.number, ev.Outcome, publishes
	in.items = append(in.items, it)
	if it.Outcome != Requeued {
		in.finished.add(it.Queue, it.Identity, it.Outcome)
	}
	if in.connected {
		in.emit(PublishOutputs{Item: it})
	}
}

func (in *Instance) outputsConfirmed(it *Item) {
	if it.stage == publishes {
		it.stage = ready
	}
}

func (in *Instance) entryConfirmed(it *Item) {
	if it.stage != relayed || in.returned {
		return // with an entry before it returned, this one must follow it again
	}
	in.confirmed = max(in.confirmed, it.Number)
	in.settle(it)
	in.relayMoves()
}

// relayMoves notes that the replay queue takes entries.
func (in *Instance) relayMoves() {
	in.returnedAt, in.stallAt = 0, 0
	if slices.ContainsFunc(in.items, func(it *Item) bool { return it.stage == relayed }) {
		in.stallAt = in.now + relayPatience
	}
}

// entryReturned: the broker has no such queue. It may be restarting, and will
// have it in a moment; so the connection is dropped and, on another one,
// everything unconfirmed published again, for as long as patience lasts.
func (in *Instance) entryReturned() {
	if in.returnedAt == 0 {
		in.returnedAt = in.now
	}
	if in.now-in.returnedAt >= relayPatience {
		in.giveUp(ReasonRelayBroken, "the replay queue does not take entries")
		return
	}
	if in.connected && !in.returned {
		in.returned = true
		in.emit(Drop{})
	}
}

// pump moves the items on, in their order: an entry must not overtake another,
// and is published only when the outputs of its message are confirmed, so that
// a target that replays it with outputs suppressed leaves none out.
func (in *Instance) pump() {
	if !in.connected {
		return
	}
	for i := 0; i < len(in.items); {
		it := in.items[i]
		switch {
		case it.stage < ready:
			return
		case !in.relays():
			in.settle(it) // takes it out of in.items
		case it.stage == ready:
			it.stage = relayed
			if in.stallAt == 0 {
				in.stallAt = in.now + relayPatience
			}
			in.emit(PublishEntry{Queue: in.m.queue, Item: it})
			i++
		default:
			i++
		}
	}
}

// relays reports whether what is handled now must be written to the replay
// queue. What is handled while draining towards the first image is part of it.
func (in *Instance) relays() bool {
	switch in.state {
	case Relaying, Finishing, Paused, Frozen:
		return true
	case Draining:
		return in.drainedFrom == Relaying
	}
	return false
}

// settle takes an item out of hand. A confirm may still come for it, if ABORT
// made its entry needless.
func (in *Instance) settle(it *Item) {
	it.stage = settled
	if it.tag != 0 && in.connected {
		in.emit(Settle{Tag: it.tag, Outcome: it.Outcome})
	}
	if i := slices.Index(in.items, it); i >= 0 {
		in.items = slices.Delete(in.items, i, i+1)
	}
}
