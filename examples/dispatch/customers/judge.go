package customers

import (
	"fmt"
	"slices"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/dispatch/desk"
	"ms2m.dev/ms2m/examples/load"
)

// Verdict is the judgement on a dispatch.
type Verdict struct {
	Sent, Shipped uint64
	// Messages says how those that were done differ from those sent, queue by queue.
	Messages load.Tally
	// Wrong is what does not follow from the messages before it, among the journal's
	// entries and the shipments; what came again counts, too.
	Wrong uint64
	// Problems describe the first differences, for people.
	Problems []string
}

// OK reports whether every message was done once, each customer's in the order of each queue,
// and everything came of them that should have.
func (v Verdict) OK() bool { return v.Messages.OK() && v.Wrong == 0 && len(v.Problems) == 0 }

// String is the verdict in a line.
func (v Verdict) String() string {
	return fmt.Sprintf("%v, wrong %d (of %d messages from 3 queues, with %d shipments)", v.Messages, v.Wrong, v.Sent, v.Shipped)
}

func (v *Verdict) problem(format string, args ...any) {
	const enough = 12
	if len(v.Problems) < enough {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// place is a message's: what a customer sent into a queue.
type place struct {
	kind     desk.Kind
	customer string
}

// Judge computes everything again, from the messages in the order in which the dispatch says it
// did them. No message may be under way any more.
func (o *Outputs) Judge(sent Sent, end desk.State) (Verdict, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return judge(sent, o.journal, o.shipments, end), o.err
}

func judge(sent Sent, journal []Received[desk.Entry], shipments []Received[desk.Shipment], end desk.State) Verdict {
	v := Verdict{Sent: sent.Total()}
	var (
		past  reference
		chain string
		want  []string // to be shipped
		done  = map[place]map[uint64]bool{}
		last  = map[place]uint64{}
	)
	for i, r := range journal {
		e := r.What
		customer, seq, err := ledger.ParseMessageID(e.ID)
		at := place{e.Kind, customer}
		switch {
		case err != nil || seq == 0 || seq > sent[e.Kind][customer] || e.Order != Order(e.Kind, customer, seq):
			v.Messages.Foreign++
			v.problem("entry %d: nobody sent the %s %s about %s", e.Number, e.Kind, e.ID, e.Order)
		case done[at][seq]:
			v.Messages.Doubled++
			v.problem("entry %d: the %s %s was done before", e.Number, e.Kind, e.ID)
		case seq < last[at]:
			v.Messages.Reordered++
			v.problem("entry %d: the %s %s was done after number %d of its customer", e.Number, e.Kind, e.ID, last[at])
		}
		if done[at] == nil {
			done[at] = map[uint64]bool{}
		}
		done[at][seq], last[at] = true, max(last[at], seq)
		should := desk.Entry{Number: uint64(i + 1), Kind: e.Kind, ID: e.ID, Order: e.Order, Result: past.next(e.Kind, e.Order)}
		should.Chain = should.Next(chain)
		chain = e.Chain // so that one fault is told once
		if e != should {
			v.Wrong++
			v.problem("entry %+v: the messages come to %+v", e, should)
		}
		if should.Result == desk.Shipped {
			want = append(want, e.Order)
		}
	}
	for kind, customers := range sent {
		for customer, n := range customers {
			if missing := n - min(n, uint64(len(done[place{kind, customer}]))); missing > 0 {
				v.Messages.Lost += missing
				v.problem("%d messages of kind %s of %s were not done", missing, kind, customer)
			}
		}
	}
	var shipped []string
	for _, s := range shipments {
		shipped = append(shipped, s.What.Order)
	}
	v.Shipped = uint64(len(shipped))
	if !slices.Equal(shipped, want) {
		v.Wrong++
		v.problem("%d shipments are not the %d that the messages come to, in their order", len(shipped), len(want))
	}
	if end.Chain != chain || end.Done != uint64(len(journal)) || end.Shipped != uint64(len(want)) {
		v.problem("the dispatch has done %d, shipped %d, chain %.8s; its journal ends at %d, %d, %.8s", end.Done, end.Shipped, end.Chain, len(journal), len(want), chain)
	}
	return v
}

// reference is the desk again, as simple as can be: all messages so far, looked through for
// each.
type reference struct{ kinds map[string][]desk.Kind }

func (r *reference) next(kind desk.Kind, order string) desk.Result {
	if r.kinds == nil {
		r.kinds = map[string][]desk.Kind{}
	}
	before := r.kinds[order]
	r.kinds[order] = append(before, kind)
	has := func(k desk.Kind) int { return slices.Index(r.kinds[order], k) }
	ordered, paid, cancelled := has(desk.Order), has(desk.Payment), has(desk.Cancellation)
	complete := ordered >= 0 && paid >= 0 && (cancelled < 0 || cancelled > max(ordered, paid))
	switch {
	case complete && kind == desk.Cancellation:
		return desk.TooLate
	case complete:
		return desk.Shipped
	case cancelled >= 0 && paid >= 0 && kind != desk.Order:
		return desk.Refunded
	case cancelled >= 0:
		return desk.Cancelled
	}
	return desk.Noted
}
