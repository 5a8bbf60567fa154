package handover

import "time"

// paceMost bounds the pace, whatever a manager asks for.
const paceMost = time.Second

// pace is how far apart a source begins messages while it relays, so that its
// copy catches up before the source has to stand still. It bounds nothing but
// the next beginning: whatever ends Relaying does not wait for it.
type pace struct {
	every time.Duration // 0: none
	until time.Duration // a manager that is gone must not slow anybody down for long
	begun time.Duration // when a message was begun last
}

// keepPace takes the pace from a command: it is what the last one says. Only
// HELLO gives one, and only a source that relays takes it, so PREPARE, RESUME and
// FREEZE end it, and no state but Relaying, no other attempt and no image knows of one.
func (in *Instance) keepPace(c Command) {
	in.pace.every = 0
	if c.Kind == Hello && in.state == Relaying && c.PaceMillis > 0 && c.DeadlineMillis > 0 {
		in.pace.every = millis(min(c.PaceMillis, paceMost.Milliseconds()))
		in.pace.until = in.now + millis(c.DeadlineMillis)
	}
}

// paced is the pace that is kept now.
func (in *Instance) paced() time.Duration {
	if in.state != Relaying || in.now >= in.pace.until {
		return 0
	}
	return in.pace.every
}

// early reports whether it is too early to begin another message.
func (in *Instance) early() bool {
	p := in.paced()
	return p > 0 && in.now < in.pace.begun+p
}

// nextBegin is when the pace lets the next message begin, if one waits.
func (in *Instance) nextBegin() time.Duration {
	if !in.early() || in.stopping || len(in.buffer) == 0 {
		return 0
	}
	return in.pace.begun + in.pace.every
}
