package load

import (
	"fmt"
	"maps"
	"slices"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// Tally says how a sequence of messages differs from what was sent.
type Tally struct {
	Lost      uint64 // numbers that are missing
	Doubled   uint64 // messages beyond the first of their number
	Reordered uint64 // messages that came after a later one of their producer
	Foreign   uint64 // messages that nobody sent
}

// OK reports whether there is no difference.
func (t Tally) OK() bool { return t == Tally{} }

// String is, for example, "lost 0, doubled 0, reordered 0".
func (t Tally) String() string {
	s := fmt.Sprintf("lost %d, doubled %d, reordered %d", t.Lost, t.Doubled, t.Reordered)
	if t.Foreign > 0 {
		s += fmt.Sprintf(", foreign %d", t.Foreign)
	}
	return s
}

// Add is the sum of two tallies.
func (t Tally) Add(u Tally) Tally {
	return Tally{
		Lost:      t.Lost + u.Lost,
		Doubled:   t.Doubled + u.Doubled,
		Reordered: t.Reordered + u.Reordered,
		Foreign:   t.Foreign + u.Foreign,
	}
}

// message is a message in a sequence.
type message struct {
	producer string
	seq      uint64
}

func (m message) String() string { return ledger.MessageID(m.producer, m.seq) }

// teller is told a difference.
type teller func(format string, args ...any)

// count compares sequences of messages, which together should be what was sent,
// with that, and tells each difference; late is told what was reordered. Order is a
// matter of each sequence.
func count(sent Sent, tell, late teller, sequences ...[]message) Tally {
	var t Tally
	seen := make(map[message]bool)
	for _, sequence := range sequences {
		highest := make(map[string]uint64, len(sent))
		for i, m := range sequence {
			switch {
			case m.seq == 0 || m.seq > uint64(len(sent[m.producer])):
				t.Foreign++
				tell("%v, the %d. message, was not sent", m, i+1)
				continue
			case seen[m]:
				t.Doubled++
				tell("%v comes again as the %d. message", m, i+1)
				continue
			case m.seq < highest[m.producer]:
				t.Reordered++
				late("%v, the %d. message, comes after %v", m, i+1, message{m.producer, highest[m.producer]})
			}
			seen[m] = true
			highest[m.producer] = max(highest[m.producer], m.seq)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		for i := range sent[name] {
			if m := (message{name, uint64(i) + 1}); !seen[m] {
				t.Lost++
				tell("%v does not come", m)
			}
		}
	}
	return t
}
