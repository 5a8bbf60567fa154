package customers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/dispatch/desk"
)

// day is what a dispatch put out, and what it is in the end.
type day struct {
	journal   []Received[desk.Entry]
	shipments []Received[desk.Shipment]
	end       desk.State
}

type message struct {
	kind desk.Kind
	seq  uint64
}

// work lets a desk do messages of one customer.
func work(messages []message) (d day) {
	at := desk.New()
	for i, m := range messages {
		order := Order(m.kind, "c", m.seq)
		e := desk.Entry{Number: uint64(i + 1), Kind: m.kind, ID: ledger.MessageID("c", m.seq), Order: order, Result: at.Apply(m.kind, order)}
		e.Chain = e.Next(d.end.Chain)
		d.end.Chain, d.end.Done = e.Chain, e.Number
		d.journal = append(d.journal, Received[desk.Entry]{What: e})
		if e.Result == desk.Shipped {
			d.shipments = append(d.shipments, Received[desk.Shipment]{What: desk.Shipment{Order: order}})
		}
	}
	d.end.Counts = at.Counts()
	return d
}

// mixed are n messages of each kind, each kind in its order, mixed at random.
func mixed(r *rand.Rand, n uint64) []message {
	var all []message
	next := map[desk.Kind]uint64{}
	for len(all) < int(n)*3 {
		if kind := desk.Kinds()[r.IntN(3)]; next[kind] < n {
			next[kind]++
			all = append(all, message{kind, next[kind]})
		}
	}
	return all
}

// TestJudge: the judge agrees with a desk that does what was sent, however it mixed, and with
// none that lost, doubled or swapped a message of a queue, or that tells wrongly what came of it.
func TestJudge(t *testing.T) {
	const n = 90
	sent := Sent{desk.Order: {"c": n}, desk.Payment: {"c": n}, desk.Cancellation: {"c": n}}
	results := map[desk.Result]int{}
	var messages []message
	for seed := range uint64(50) {
		messages = mixed(rand.New(rand.NewPCG(seed, 0)), n)
		d := work(messages)
		if v := judge(sent, d.journal, d.shipments, d.end); !v.OK() {
			t.Fatalf("seed %d, a good day: %v, %v", seed, v, v.Problems)
		}
		for _, r := range d.journal {
			results[r.What.Result]++
		}
	}
	for _, r := range []desk.Result{desk.Noted, desk.Shipped, desk.Cancelled, desk.Refunded, desk.TooLate} {
		if results[r] == 0 {
			t.Errorf("nothing was %s: %v", r, results)
		}
	}
	at := slices.IndexFunc(messages, func(m message) bool { return m.kind == desk.Payment && m.seq == n/2 })
	next := slices.IndexFunc(messages, func(m message) bool { return m.kind == desk.Payment && m.seq == n/2+1 })
	swapped := slices.Clone(messages)
	swapped[at], swapped[next] = swapped[next], swapped[at]
	for name, tc := range map[string]struct {
		messages []message
		spoil    func(*day)
		has      func(Verdict) bool
	}{
		"lost":          {slices.Delete(slices.Clone(messages), at, at+1), nil, func(v Verdict) bool { return v.Messages.Lost == 1 }},
		"doubled":       {slices.Insert(slices.Clone(messages), at, messages[at]), nil, func(v Verdict) bool { return v.Messages.Doubled == 1 }},
		"swapped":       {swapped, nil, func(v Verdict) bool { return v.Messages.Reordered == 1 }},
		"foreign":       {append(slices.Clone(messages), message{desk.Order, n + 1}), nil, func(v Verdict) bool { return v.Messages.Foreign == 1 }},
		"entry lost":    {messages, func(d *day) { d.journal = slices.Delete(d.journal, at, at+1) }, func(v Verdict) bool { return v.Messages.Lost == 1 }},
		"wrong result":  {messages, func(d *day) { d.journal[at].What.Result = "sold" }, func(v Verdict) bool { return v.Wrong == 1 }},
		"shipment lost": {messages, func(d *day) { d.shipments = d.shipments[1:] }, func(v Verdict) bool { return v.Wrong == 1 }},
		"shipped twice": {messages, func(d *day) { d.shipments = append(d.shipments, d.shipments[0]) }, func(v Verdict) bool { return v.Wrong == 1 }},
		"shipments swapped": {messages, func(d *day) { d.shipments[0], d.shipments[1] = d.shipments[1], d.shipments[0] },
			func(v Verdict) bool { return v.Wrong == 1 }},
		"another queue": {messages, func(d *day) { d.journal[at].What.Kind = desk.Order }, func(v Verdict) bool { return v.Messages.Lost == 1 }},
		"another past":  {messages, func(d *day) { d.end.Chain = "other" }, func(v Verdict) bool { return len(v.Problems) == 1 }},
	} {
		d := work(tc.messages)
		if tc.spoil != nil {
			tc.spoil(&d)
		}
		if v := judge(sent, d.journal, d.shipments, d.end); v.OK() || !tc.has(v) {
			t.Errorf("%s: %v, %v", name, v, v.Problems)
		}
	}
}
