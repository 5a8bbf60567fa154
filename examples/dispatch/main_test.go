package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/dispatch/customers"
	"ms2m.dev/ms2m/examples/dispatch/desk"
	"ms2m.dev/ms2m/sdk"
)

var environment = map[string]string{
	"ORDER_QUEUE": "o", "PAYMENT_QUEUE": "p", "CANCELLATION_QUEUE": "c", "SHIPMENT_QUEUE": "s", "JOURNAL_QUEUE": "j",
}

func newDispatch(t *testing.T) *dispatch {
	t.Helper()
	d := &dispatch{mark: "m", desk: desk.New()}
	if err := d.queues(func(name string) string { return environment[name] }); err != nil {
		t.Fatal(err)
	}
	c, err := sdk.New(d.config("amqp://127.0.0.1:1/"))
	if err != nil {
		t.Fatal(err)
	}
	d.consumer = c
	return d
}

// TestReplay: a replay comes to the same past, with one message-id in several queues.
func TestReplay(t *testing.T) {
	messages := []sdk.Message{{Queue: "o", Body: []byte("no order")}, {Queue: "o", Body: []byte("{}")}}
	for seq := range uint64(60) {
		for queue, kind := range map[string]desk.Kind{"o": desk.Order, "p": desk.Payment, "c": desk.Cancellation} {
			body, err := json.Marshal(desk.Message{Order: customers.Order(kind, "customer1", seq+1)})
			if err != nil {
				t.Fatal(err)
			}
			m := sdk.Message{Queue: queue, Body: body}
			m.Properties.MessageID = ledger.MessageID("customer1", seq+1)
			messages = append(messages, m)
		}
	}
	var last *dispatch
	fresh := func() sdk.Config {
		last = newDispatch(t)
		return last.config("amqp://127.0.0.1:1/")
	}
	if err := sdk.CheckReplay(t.Context(), fresh, messages); err != nil {
		t.Error(err)
	}
	if s := last.state(); s.Done != 180 || s.Counts != (desk.Counts{Shipped: 40, Cancelled: 60}) {
		t.Errorf("%+v", s)
	}
}

func TestQueues(t *testing.T) {
	for name, tc := range map[string]struct{ variable, value, want string }{
		"missing input":  {"PAYMENT_QUEUE", "", "PAYMENT_QUEUE is not set"},
		"missing output": {"JOURNAL_QUEUE", "", "JOURNAL_QUEUE is not set"},
		"twice":          {"PAYMENT_QUEUE", "o", "already"},
	} {
		d := &dispatch{}
		err := d.queues(func(name string) string {
			if name == tc.variable {
				return tc.value
			}
			return environment[name]
		})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestState(t *testing.T) {
	d := newDispatch(t)
	d.do(desk.Order, "a-1", "a-1")
	d.do(desk.Payment, "a-1", "a-1")
	d.do(desk.Payment, "a-2", "a-2")
	w := httptest.NewRecorder()
	d.routes().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/state", nil))
	var s desk.State
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Done != 3 || s.Chain != string(d.digest()) || s.Owner || s.Counts != (desk.Counts{Shipped: 1, Prepaid: 1}) {
		t.Errorf("%+v", s)
	}
}
