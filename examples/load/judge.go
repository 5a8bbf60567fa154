package load

import (
	"fmt"
	"slices"
	"strings"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// Verdict is the judgement on a run: what the counter holds and has put out,
// against what was sent.
type Verdict struct {
	Sent    uint64 // messages sent
	Counted uint64 // by the counter

	State   Tally // what is in the counter's memory
	Outputs Tally // what it has put out
	// Repeated are those of Outputs.Doubled that are word for word what was put
	// out before under the same message-id, so that a consumer can tell.
	Repeated uint64

	// ChainEqual says that the counter's chains are those of the messages sent:
	// each producer's in the order of sending, and the chain over all in the
	// order of the outputs.
	ChainEqual bool
	// Problems describe the first differences, for people.
	Problems []string
}

// OK reports whether nothing was lost, doubled, reordered or altered.
func (v Verdict) OK() bool {
	return v.Sent == v.Counted && v.State.OK() && v.Outputs.OK() && v.ChainEqual && len(v.Problems) == 0
}

// OKWithoutRepeated is OK for those who leave out repeated outputs, as they must
// where connections to the broker are lost.
func (v Verdict) OKWithoutRepeated() bool {
	v.Outputs.Doubled -= v.Repeated
	return v.OK()
}

// Numbers are the six numbers of a verdict in a line: what is lost, doubled and
// reordered in the memory, and among the outputs.
func (v Verdict) Numbers() string {
	s := fmt.Sprintf("state: %v; outputs: %v", v.State, v.Outputs)
	if v.Repeated > 0 {
		s += fmt.Sprintf(" (%d of the doubled repeated under the same identity)", v.Repeated)
	}
	return s
}

// String is the verdict in a line; lost is what is lost in the memory or among
// the outputs, and so on.
func (v Verdict) String() string { return v.State.Add(v.Outputs).String() }

// Judge compares the counter's state and its outputs, in the order of their
// queue, with what was sent. No message may be under way any more.
func Judge(sent Sent, state ledger.State, outputs []Output) Verdict {
	v := Verdict{Sent: sent.Total(), Counted: state.Count}
	chains := v.judgeProducers(sent, state)
	total, sequence := v.readOutputs(sent, state, outputs)
	tell := v.problemOf("outputs")
	v.Outputs = count(sent, tell, tell, sequence)
	v.Outputs.Doubled += v.Repeated
	v.ChainEqual = chains && total
	switch {
	case !chains:
		v.State = v.explain(sent, state, outputs)
	case v.Outputs.OK():
		v.Outputs.Reordered = regressions(outputs)
	}
	return v
}

func (v *Verdict) problem(format string, args ...any) {
	const enough = 12
	if len(v.Problems) < enough {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// judgeProducers reports whether the chain of each producer is right. A chain
// stands for every number and body in its order, so nothing else needs a look.
func (v *Verdict) judgeProducers(sent Sent, state ledger.State) bool {
	equal := true
	for name, bodies := range sent {
		var want ledger.Producer
		for i, body := range bodies {
			want = ledger.Producer{Count: want.Count + 1, Last: uint64(i) + 1, Chain: want.Chain.Next(name, uint64(i)+1, body)}
		}
		if got := state.Producers[name]; got != want {
			v.problem("producer %s: counted %d up to number %d, chain %.8s; sent %d, chain %.8s",
				name, got.Count, got.Last, got.Chain, want.Count, want.Chain)
			equal = false
		}
	}
	for name := range state.Producers {
		if _, ok := sent[name]; !ok {
			v.problem("producer %s: counted, but nothing was sent", name)
			equal = false
		}
	}
	return equal
}

// problemOf makes a teller of problems of something.
func (v *Verdict) problemOf(what string) teller {
	return func(format string, args ...any) { v.problem(what+": "+format, args...) }
}

// readOutputs reads the messages that the outputs are for, without those that
// are repeated, and reports whether they tell the counter's history: each with the
// count and the chain that follow from the one before, the last with the counter's own.
func (v *Verdict) readOutputs(sent Sent, state ledger.State, outputs []Output) (equal bool, sequence []message) {
	var told ledger.Entry // the last of the history
	equal, sequence = true, make([]message, 0, len(outputs))
	first := make(map[string]ledger.Entry, len(outputs))
	for _, o := range outputs {
		if earlier, ok := first[o.ID]; ok && earlier == o.Entry {
			v.Repeated++
			continue
		}
		first[o.ID] = o.Entry
		sequence = append(sequence, message{o.Producer, o.Seq})
		if !identifies(o) {
			v.problem("output %s: is for %s", o.ID, ledger.MessageID(o.Producer, o.Seq))
		}
		bodies := sent[o.Producer]
		if o.Seq == 0 || o.Seq > uint64(len(bodies)) {
			v.problem("output %s: nobody sent that", o.ID)
			equal = false
			continue
		}
		want := ledger.Entry{
			Producer: o.Producer, Seq: o.Seq,
			Count: told.Count + 1, Chain: told.Chain.Next(o.Producer, o.Seq, bodies[o.Seq-1]),
		}
		if o.Entry != want {
			v.problem("output %s: count %d, chain %.8s; after the output before it %d, %.8s",
				o.ID, o.Count, o.Chain, want.Count, want.Chain)
			equal = false
		}
		told = o.Entry
	}
	if told.Count != state.Count || told.Chain != state.Chain {
		v.problem("the counter is at count %d, chain %.8s; its outputs end at %d, %.8s",
			state.Count, state.Chain, told.Count, told.Chain)
		equal = false
	}
	return equal, sequence
}

// regressions counts the outputs that came after one that the counter put out
// later. Each producer's may be in order all the same.
func regressions(outputs []Output) uint64 {
	var n, highest uint64
	for _, o := range outputs {
		if o.Count < highest {
			n++
		}
		highest = max(highest, o.Count)
	}
	return n
}

// identifies reports whether the output's message-id names its input: the
// library makes it of the queue, the input's identity and a number.
func identifies(o Output) bool {
	parts := strings.Split(o.ID, "/")
	return len(parts) >= 2 && parts[len(parts)-2] == ledger.MessageID(o.Producer, o.Seq)
}

// explain finds out how a state that is not right came about. Every output
// carries the count and the chain of the memory that made it, so the state's
// history can be read backwards, each link proven by its hash. Where an output is
// missing and the history ends early, only the numbers speak.
func (v *Verdict) explain(sent Sent, state ledger.State, outputs []Output) Tally {
	if history, ok := history(sent, state, outputs); ok {
		tell := v.problemOf("memory")
		return count(sent, tell, tell, history)
	}
	t := countNumbers(sent, state.Producers)
	if t.OK() {
		t.Reordered = 1 // as many as were sent, but another chain: at least this
	}
	return t
}

// countNumbers compares how many messages of each producer were counted.
func countNumbers(sent Sent, counted map[string]ledger.Producer) Tally {
	var t Tally
	for name, p := range counted {
		if _, ok := sent[name]; !ok {
			t.Foreign += p.Count
		}
	}
	for name, bodies := range sent {
		switch p, n := counted[name], uint64(len(bodies)); {
		case p.Count < n:
			t.Lost += n - p.Count
		case p.Count > n:
			t.Doubled += p.Count - n
		}
	}
	return t
}

// history reads the messages in the counter's memory from the outputs, the
// last first, and returns them in their order.
func history(sent Sent, state ledger.State, outputs []Output) ([]message, bool) {
	at := make(map[uint64][]ledger.Entry)
	for _, o := range outputs {
		at[o.Count] = append(at[o.Count], o.Entry)
	}
	messages := make([]message, 0, state.Count)
	chain := state.Chain
	for n := state.Count; n > 0; n-- {
		before, link, ok := parent(sent, at, n, chain)
		if !ok {
			return nil, false
		}
		messages = append(messages, link)
		chain = before
	}
	slices.Reverse(messages)
	return messages, true
}

// parent finds the message that made count n and this chain, and the chain
// before it.
func parent(sent Sent, at map[uint64][]ledger.Entry, n uint64, chain ledger.Sum) (ledger.Sum, message, bool) {
	before := at[n-1]
	if n == 1 {
		before = []ledger.Entry{{}} // the chain of no message
	}
	for _, o := range at[n] {
		bodies := sent[o.Producer]
		if o.Chain != chain || o.Seq == 0 || o.Seq > uint64(len(bodies)) {
			continue
		}
		for _, b := range before {
			if b.Chain.Next(o.Producer, o.Seq, bodies[o.Seq-1]) == chain {
				return b.Chain, message{o.Producer, o.Seq}, true
			}
		}
	}
	return ledger.Sum{}, message{}, false
}
