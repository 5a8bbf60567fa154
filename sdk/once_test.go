package sdk

import (
	"errors"
	"strings"
	"testing"

	"ms2m.dev/ms2m/sdk/handover"
)

// replayOf is the message as a target gets it from the entry that the source wrote.
func replayOf(m *Message) *Message {
	return fromEntry(m.entry(&handover.Item{Number: 1, Outcome: handover.Done, Identity: m.identity}), m.Queue, m.Body)
}

func TestOnceIsReadBack(t *testing.T) {
	calls := 0
	call := func() ([]byte, error) { calls++; return []byte("answer"), errors.New("late") }
	live := &Message{identity: "m"}
	v, err := live.Once("ask", call)
	now := live.Now()

	again := replayOf(live)
	v2, err2 := again.Once("ask", call)
	if string(v2) != string(v) || err2.Error() != err.Error() {
		t.Errorf("the replay got %q, %v; the source %q, %v", v2, err2, v, err)
	}
	if got := again.Now(); !got.Equal(now) {
		t.Errorf("the replay's clock shows %v, the source's %v", got, now)
	}
	if calls != 1 {
		t.Errorf("the call was made %d times", calls)
	}
	if o := again.outcome(nil); o != handover.Done {
		t.Errorf("outcome %q", o)
	}
}

// TestOnceNotices: a replay that does something else than the source did has
// no outcome that could equal the source's, so it is rolled back.
func TestOnceNotices(t *testing.T) {
	live := &Message{identity: "m"}
	if _, err := live.Once("ask", func() ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	again := replayOf(live)
	if _, err := again.Once("something else", nil); err == nil {
		t.Error("no error")
	}
	if o := again.outcome(nil); o != "" {
		t.Errorf("outcome %q", o)
	}
}

func TestOutputsAreLeftOutOfTheReplay(t *testing.T) {
	live := &Message{identity: "m"}
	live.Publish(Output{RoutingKey: "out"})
	again := replayOf(live)
	again.Publish(Output{RoutingKey: "out"})
	if len(live.outputs) != 1 || len(again.outputs) != 0 {
		t.Errorf("%d live, %d replayed", len(live.outputs), len(again.outputs))
	}
}

func TestOutcomes(t *testing.T) {
	m := &Message{}
	for _, c := range []struct {
		err  error
		want handover.Outcome
	}{
		{nil, handover.Done},
		{errors.New("passing"), handover.Requeued},
		{Reject(errors.New("poison")), handover.Rejected},
	} {
		if got := m.outcome(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func TestConfigErrorsNameTheFieldAndNoPassword(t *testing.T) {
	_, err := New(Config{URL: "http://user:secret@host", Prefetch: -1, Remember: -1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"URL", "Queue", "Handler", "Prefetch", "Remember"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("%v holds the password", err)
	}
}
