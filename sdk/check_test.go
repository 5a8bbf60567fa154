package sdk_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ms2m.dev/ms2m/sdk"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestCheckReplay: a handler that depends on state and message alone passes; one that depends on
// anything else is found out, at the message where it does.
func TestCheckReplay(t *testing.T) {
	type state struct {
		text    string
		handled int
	}
	messages := make([]sdk.Message, 8)
	for i := range messages {
		messages[i].Properties = handover.Properties{MessageID: fmt.Sprint("m", i+1), Headers: handover.Table{"id": int64(i)}}
	}
	var once, first sync.Once
	random := func() ([]byte, error) { return []byte(rand.Text()), nil }
	for name, tc := range map[string]struct {
		handle func(*state, *sdk.Message) error
		header string
		want   string // in the error
	}{
		"the message": {handle: func(s *state, m *sdk.Message) error { s.text += m.Identity(); return nil }},
		"a header":    {handle: func(s *state, m *sdk.Message) error { s.text += m.Identity(); return nil }, header: "id"},
		"recorded": {handle: func(s *state, m *sdk.Message) error {
			v, err := m.Once("random", random)
			s.text += string(v) + m.Now().String()
			return err
		}},
		"rejects": {handle: func(*state, *sdk.Message) error { return sdk.Reject(errors.New("no")) }},
		"an error recorded": {handle: func(s *state, m *sdk.Message) error {
			_, err := m.Once("call", func() ([]byte, error) { return nil, errors.New("refused") })
			s.text += err.Error()
			return nil
		}},
		"the clock": {handle: func(s *state, _ *sdk.Message) error { s.text += time.Now().String(); return nil },
			want: "message 1 (m1): a copy comes to another state"},
		"chance, later": {handle: func(s *state, m *sdk.Message) error {
			if m.Identity() == "m5" {
				s.text += rand.Text()
			}
			return nil
		}, want: "message 5 (m5)"},
		"a side effect by chance": {handle: func(_ *state, m *sdk.Message) error {
			_, err := m.Once(rand.Text(), random)
			return err
		}, want: "another side effect"},
		"a side effect of the first": {handle: func(s *state, m *sdk.Message) error {
			once.Do(func() { _, _ = m.Once("random", random) })
			return nil
		}, want: "ran 1 side effects, a copy asked for 0"},
		"an outcome of the first": {handle: func(*state, *sdk.Message) error {
			var err error
			first.Do(func() { err = sdk.Reject(errors.New("no")) })
			return err
		}, want: "outcome"},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := func() sdk.Config {
				s := &state{}
				return sdk.Config{
					IdentityHeader: tc.header,
					Handler:        func(_ context.Context, m *sdk.Message) error { s.handled++; return tc.handle(s, m) },
					Digest:         func() []byte { return fmt.Append(nil, s.text, s.handled) },
				}
			}
			err := sdk.CheckReplay(t.Context(), fresh, messages)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	if err := sdk.CheckReplay(t.Context(), func() sdk.Config { return sdk.Config{} }, messages); err == nil {
		t.Error("no handler, no digest: taken")
	}
}
