package load

import (
	"maps"
	"slices"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// Replica is one of several counters that share a queue, and an output queue of
// its own.
type Replica struct {
	State   ledger.State
	Outputs []Output
}

// Deal gives each of the counters' states the outputs that its memory made, of
// counters that put out to one queue. Outputs of a memory that no counter has any
// more make a replica that holds nothing: the judge misses in memory what it told.
// A memory that two counters have is dealt to both, so that it counts twice.
func Deal(states []ledger.State, outputs []Output) []Replica {
	by := make(map[string][]Output)
	for _, o := range outputs {
		by[o.Mark] = append(by[o.Mark], o)
	}
	replicas := make([]Replica, 0, len(states))
	for _, s := range states {
		replicas = append(replicas, Replica{State: s, Outputs: by[s.Mark]})
	}
	for _, s := range states {
		delete(by, s.Mark)
	}
	for _, mark := range slices.Sorted(maps.Keys(by)) {
		replicas = append(replicas, Replica{Outputs: by[mark]})
	}
	return replicas
}

// JudgeReplicas compares what replicas hold and have put out together with what
// was sent: every message must be in the memory of one of them, once, and each
// replica's outputs must tell its own history. Reordered counts the messages that
// came to a replica after a later one of their producer: which of them takes a
// message that was given back is the broker's choice, see OKWithoutLate.
func JudgeReplicas(sent Sent, replicas ...Replica) Verdict {
	v := Verdict{Sent: sent.Total(), ChainEqual: true}
	var memories, told [][]message
	readable := true
	together := make(map[string]ledger.Producer)
	for _, r := range replicas {
		v.Counted += r.State.Count
		for name, p := range r.State.Producers {
			sum := together[name]
			sum.Count += p.Count
			together[name] = sum
		}
		equal, sequence := v.readOutputs(sent, r.State, r.Outputs)
		v.ChainEqual = v.ChainEqual && equal
		told = append(told, sequence)
		memory, ok := history(sent, r.State, r.Outputs)
		memories, readable = append(memories, memory), readable && ok
	}
	late := func(string, ...any) {} // no problem by itself
	v.Outputs = count(sent, v.problemOf("outputs"), late, told...)
	v.Outputs.Doubled += v.Repeated
	if readable {
		v.State = count(sent, v.problemOf("memory"), late, memories...)
	} else {
		v.State = countNumbers(sent, together)
	}
	return v
}

// OKWithoutLate is OK for those who leave out up to this many reordered
// messages: those that the broker may have got back and given to another replica.
func (v Verdict) OKWithoutLate(most uint64) bool {
	if v.State.Reordered <= most && v.Outputs.Reordered <= most {
		v.State.Reordered, v.Outputs.Reordered = 0, 0
	}
	return v.OK()
}
