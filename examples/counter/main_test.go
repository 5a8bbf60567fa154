package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/sdk"
)

// TestReads: a process that does not own the state (it has never been at a
// broker) answers as READS says.
func TestReads(t *testing.T) {
	c := &counter{ledger: ledger.New()}
	consumer, err := sdk.New(sdk.Config{URL: "amqp://127.0.0.1:1/", Queue: "q", Handler: c.count})
	if err != nil {
		t.Fatal(err)
	}
	c.consumer = consumer
	c.ledger.Add("p1", 1, nil)
	for how, want := range map[string]int{"refuse": http.StatusServiceUnavailable, "any": http.StatusOK} {
		h, err := c.reads(how)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/count", nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", how, w.Code, want)
		}
		var got ledger.Count
		if w.Code == http.StatusOK && (json.Unmarshal(w.Body.Bytes(), &got) != nil || got.Count != 1 || got.Owner) {
			t.Errorf("%s: %+v", how, got)
		}
	}
	for _, how := range []string{"", "pass"} {
		h, err := c.reads(how)
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan int, 1)
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/count", nil))
			answered <- w.Code
		}()
		select {
		case code := <-answered:
			t.Errorf("%q: answered %d at once", how, code)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if _, err := c.reads("other"); err == nil {
		t.Error("READS=other is taken")
	}
}
