package market

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/exchange/book"
	"ms2m.dev/ms2m/examples/load"
)

// Verdict is the judgement on a day of trading.
type Verdict struct {
	Sent, Done uint64 // commands sent; commands that the exchange says it has done
	Trades     uint64
	// Commands says how the commands that were done differ from those sent.
	Commands load.Tally
	// Repeated reports came again, word for word, under the same message-id.
	Repeated uint64
	// Wrong reports are not what the commands before them come to.
	Wrong uint64
	// Problems describe the first differences, for people.
	Problems []string
}

// OK reports whether every command was done once, in its trader's order, and every
// trade and the book at the end are what the commands come to.
func (v Verdict) OK() bool {
	return v.Commands.OK() && v.Repeated == 0 && v.Wrong == 0 && v.Sent == v.Done && len(v.Problems) == 0
}

// String is the verdict in a line.
func (v Verdict) String() string {
	return fmt.Sprintf("%v, wrong %d (of %d commands with %d trades)", v.Commands, v.Wrong+v.Repeated, v.Sent, v.Trades)
}

func (v *Verdict) problem(format string, args ...any) {
	const enough = 12
	if len(v.Problems) < enough {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// Judge computes the trading again, from the commands in the order in which the
// exchange says it did them, on a book of its own. Sent is how many commands of each
// trader were sent; no command may be under way any more.
func Judge(sent map[string]uint64, reports []Received, end book.State) Verdict {
	v := Verdict{Done: end.Done}
	for _, n := range sent {
		v.Sent += n
	}
	var (
		again Reference
		chain string
		first = make(map[string]book.Report, len(reports))
		seen  = make(map[string]bool, len(reports))
		last  = make(map[string]uint64, len(sent))
	)
	for _, r := range reports {
		if earlier, ok := first[r.ID]; ok && reflect.DeepEqual(earlier, r.Report) {
			v.Repeated++
			v.problem("report %d (%s): came again", r.Number, r.Command)
			continue
		}
		first[r.ID] = r.Report
		trader, seq, err := ledger.ParseMessageID(r.Command)
		switch {
		case err != nil || seq > sent[trader]:
			v.Commands.Foreign++
			v.problem("report %d: nobody sent %s", r.Number, r.Command)
			continue
		case seen[r.Command]:
			v.Commands.Doubled++
			v.problem("report %d: %s was done before", r.Number, r.Command)
		case seq < last[trader]:
			v.Commands.Reordered++
			v.problem("report %d: %s was done after number %d of its trader", r.Number, r.Command, last[trader])
		}
		last[trader] = max(last[trader], seq)
		number := uint64(len(seen)) + 1 + v.Commands.Doubled
		seen[r.Command] = true
		want := book.Report{Number: number, Command: r.Command, At: r.At, Result: again.Apply(r.Command, Command(trader, seq))}
		want.Chain = want.Next(chain)
		chain = r.Chain // so that one fault is told once
		v.Trades += uint64(len(r.Trades))
		if !reflect.DeepEqual(r.Report, want) {
			v.Wrong++
			v.problem("report %+v: the commands come to %+v", r.Report, want)
		}
	}
	for _, trader := range slices.Sorted(maps.Keys(sent)) {
		for seq := range sent[trader] {
			if id := ledger.MessageID(trader, seq+1); !seen[id] {
				v.Commands.Lost++
				v.problem("%s was not done", id)
			}
		}
	}
	if end.Chain != chain {
		v.problem("the exchange's chain is %.8s, its reports end at %.8s", end.Chain, chain)
	}
	if want := again.View(); !reflect.DeepEqual(end.View, want) {
		v.problem("the book has %d bids and %d asks, the commands come to %d and %d; or they differ",
			len(end.Bids), len(end.Asks), len(want.Bids), len(want.Asks))
	}
	return v
}
