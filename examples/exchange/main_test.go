package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/exchange/book"
	"ms2m.dev/ms2m/examples/exchange/market"
	"ms2m.dev/ms2m/sdk"
)

const commands = 300 // of each of two traders

func newExchange(t *testing.T) *exchange {
	t.Helper()
	e := &exchange{reports: "reports", book: book.New()}
	consumer, err := sdk.New(sdk.Config{URL: "amqp://127.0.0.1:1/", Queue: "q", Handler: e.handle, Digest: e.digest})
	if err != nil {
		t.Fatal(err)
	}
	e.consumer = consumer
	return e
}

// message is a command on its way.
type message struct {
	trader string
	seq    uint64
}

// trade lets an exchange do messages and tells what was reported.
func trade(t *testing.T, messages []message) ([]market.Received, book.State) {
	t.Helper()
	e := newExchange(t)
	reports := make([]market.Received, 0, len(messages))
	for i, m := range messages {
		id := ledger.MessageID(m.trader, m.seq)
		r := e.do(id, market.Command(m.trader, m.seq), time.Unix(int64(i), 0).UTC())
		reports = append(reports, market.Received{ID: "q:" + id, Report: r})
	}
	return reports, e.state()
}

// TestJudge: the judge agrees with an exchange that does what was sent, and with none
// that lost, doubled or swapped a command, or that tells a trade wrongly.
func TestJudge(t *testing.T) {
	var day []message
	for seq := range uint64(commands) {
		day = append(day, message{"trader1", seq + 1}, message{"trader2", seq + 1})
	}
	sent := map[string]uint64{"trader1": commands, "trader2": commands}
	judge := func(messages []message, spoil func(*[]market.Received, *book.State)) market.Verdict {
		reports, state := trade(t, messages)
		if spoil != nil {
			spoil(&reports, &state)
		}
		return market.Judge(sent, reports, state)
	}
	if v := judge(day, nil); !v.OK() || v.Trades < commands/4 || v.Sent != 2*commands {
		t.Fatalf("a good day: %v, %v", v, v.Problems)
	}
	const at = 250
	swapped := slices.Clone(day)
	swapped[at], swapped[at+2] = swapped[at+2], swapped[at] // of one trader
	twice := slices.Insert(slices.Clone(day), at+1, day[at])
	for name, tc := range map[string]struct {
		v   market.Verdict
		has func(market.Verdict) bool
	}{
		"lost":    {judge(slices.Delete(slices.Clone(day), at, at+1), nil), func(v market.Verdict) bool { return v.Commands.Lost == 1 }},
		"doubled": {judge(twice, nil), func(v market.Verdict) bool { return v.Commands.Doubled == 1 }},
		"swapped": {judge(swapped, nil), func(v market.Verdict) bool { return v.Commands.Reordered > 0 }},
		"foreign": {judge(append(slices.Clone(day), message{"trader3", 1}), nil), func(v market.Verdict) bool { return v.Commands.Foreign == 1 }},
		"a report lost": {judge(day, func(r *[]market.Received, _ *book.State) { *r = slices.Delete(*r, at, at+1) }),
			func(v market.Verdict) bool { return v.Commands.Lost == 1 }},
		"a report again": {judge(day, func(r *[]market.Received, _ *book.State) { *r = slices.Insert(*r, at, (*r)[at-1]) }),
			func(v market.Verdict) bool { return v.Repeated == 1 }},
		"reports swapped": {judge(day, func(r *[]market.Received, _ *book.State) { (*r)[at], (*r)[at+1] = (*r)[at+1], (*r)[at] }),
			func(v market.Verdict) bool { return v.Wrong > 0 }},
		"another quantity": {judge(day, func(r *[]market.Received, _ *book.State) {
			i := slices.IndexFunc(*r, func(r market.Received) bool { return len(r.Trades) > 0 })
			(*r)[i].Trades[0].Quantity++
		}), func(v market.Verdict) bool { return v.Wrong == 1 }},
		"another time": {judge(day, func(r *[]market.Received, _ *book.State) { (*r)[at].At = time.Unix(0, 0).UTC() }),
			func(v market.Verdict) bool { return v.Wrong == 1 }},
		"another book": {judge(day, func(_ *[]market.Received, s *book.State) { s.Bids[0].Quantity++ }),
			func(v market.Verdict) bool { return len(v.Problems) == 1 }},
		"another past": {judge(day, func(_ *[]market.Received, s *book.State) { s.Chain = "other" }),
			func(v market.Verdict) bool { return len(v.Problems) == 1 }},
	} {
		if tc.v.OK() || !tc.has(tc.v) {
			t.Errorf("%s: %v, %v", name, tc.v, tc.v.Problems)
		}
	}
}

// TestReplay: a replay comes to the same book and the same past, times and all.
func TestReplay(t *testing.T) {
	messages := []sdk.Message{{Body: []byte("no command")}}
	for seq := range uint64(commands) {
		m := sdk.Message{Body: market.Body("trader1", seq+1)}
		m.Properties.MessageID = ledger.MessageID("trader1", seq+1)
		messages = append(messages, m)
	}
	fresh := func() sdk.Config {
		e := newExchange(t)
		return sdk.Config{Handler: e.handle, Digest: e.digest}
	}
	if err := sdk.CheckReplay(t.Context(), fresh, messages); err != nil {
		t.Error(err)
	}
}

// TestRejects: what is no command is given up, and leaves no mark.
func TestRejects(t *testing.T) {
	e := newExchange(t)
	for _, body := range []string{"", "{}", `{"side":"buy","price":-1,"quantity":1}`, `{"side":"hold","price":1,"quantity":1}`} {
		err := e.handle(t.Context(), &sdk.Message{Body: []byte(body)})
		if err == nil || !errors.As(err, new(interface{ Unwrap() error })) {
			t.Errorf("%q: %v", body, err)
		}
	}
	if s := e.state(); s.Done != 0 || s.Chain != "" {
		t.Errorf("%+v", s)
	}
	if err := e.handle(t.Context(), &sdk.Message{Body: market.Body("trader1", 1)}); err != nil || e.state().Done != 1 {
		t.Errorf("a good one: %v, %+v", err, e.state())
	}
}

func TestState(t *testing.T) {
	e := newExchange(t)
	e.do("a", book.Command{Side: book.Buy, Price: 7, Quantity: 3}, time.Unix(1, 0).UTC())
	w := httptest.NewRecorder()
	e.routes().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/state", nil))
	var s book.State
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Done != 1 || s.Chain != string(e.digest()) || s.Owner || !slices.Equal(s.Bids, []book.Order{{ID: "a", Price: 7, Quantity: 3}}) {
		t.Errorf("%+v", s)
	}
}
