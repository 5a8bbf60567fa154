package handover

// deliver takes a message of the primary queue.
func (in *Instance) deliver(d Delivered) {
	if in.primary != consuming {
		return // on its way when the primary was released: the broker has it back
	}
	if d.Identity == "" {
		in.nameless = true
	}
	if it := in.inHand(d.Identity); it != nil {
		if it.tag == 0 {
			it.tag = d.Tag // redelivered after a lost connection: settled when its item is
		} else {
			in.emit(Settle{Tag: d.Tag, Outcome: Done}) // published twice: it counts once
		}
		return
	}
	if o, ok := in.finished.find(d.Identity); ok {
		in.emit(Settle{Tag: d.Tag, Outcome: o})
		return
	}
	in.buffer = append(in.buffer, d)
}

func (in *Instance) inHand(identity string) *Item {
	if identity == "" {
		return nil
	}
	for _, it := range in.items {
		if it.Identity == identity {
			return it
		}
	}
	return nil
}

// beginNext starts the handler of the next message, one at a time.
func (in *Instance) beginNext() {
	switch in.state {
	case Live, Relaying:
	default:
		return
	}
	for in.begun && !in.stopping && in.current == nil && len(in.buffer) > 0 {
		d := in.buffer[0]
		in.buffer = in.buffer[1:]
		// The same message may wait twice in the buffer if it was published twice.
		if o, ok := in.finished.find(d.Identity); ok {
			in.emit(Settle{Tag: d.Tag, Outcome: o})
			continue
		}
		it := &Item{Identity: d.Identity, Payload: d.Payload, tag: d.Tag, began: in.now}
		in.current = it
		in.items = append(in.items, it)
		in.emit(Begin{Item: it})
	}
}

// handled takes note of a handler's return: from here on the message is part
// of the state, under its number.
func (in *Instance) handled(ev Handled) {
	if ev.Item != in.current {
		return // of a state that was left meanwhile
	}
	in.current = nil
	if in.state == Replaying {
		in.applied(ev)
		return
	}
	in.number++
	it := ev.Item
	it.Number, it.Outcome, it.stage = in.number, ev.Outcome, publishes
	if it.Outcome != Requeued {
		in.finished.add(it.Identity, it.Outcome)
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
	if it.stage != relayed {
		return
	}
	in.confirmed = max(in.confirmed, it.Number)
	in.settle(it)
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
	for i, other := range in.items {
		if other == it {
			in.items = append(in.items[:i], in.items[i+1:]...)
			return
		}
	}
}
