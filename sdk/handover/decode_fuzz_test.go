package handover

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzCommand gives whatever can be read as a command to an instance that is in a
// migration, over and over. It never panics, and as long as neither the migration's
// UID nor the pod's is right it does nothing but answer.
func FuzzCommand(f *testing.F) {
	for _, kind := range allCommands {
		b, err := json.Marshal(Command{Version: Version, Kind: kind, Migration: simMigration, Attempt: 1, Epoch: 1, PodUID: "pod",
			ReplayQueue: "r", DeadlineMillis: 5, LeaseMillis: 1 << 62, ReportMillis: -1, PaceMillis: 1 << 62})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		in := New(Config{Queue: "q", Prefetch: 4, Incarnation: "i", Identity: IdentityMessageID})
		in.Step(1, Looked{Pod: "pod"})
		in.Step(2, Connected{Pod: "pod"})
		for i, body := range [][]byte{first, second, first} {
			var c Command
			if json.Unmarshal(body, &c) != nil {
				continue
			}
			now := time.Duration(i+3) * time.Millisecond
			in.Step(now, Tick{}) // what time alone does is not the command's doing
			before := in.State()
			effects := in.Step(now, Commanded{Command: c, ReplyTo: "to"})
			if c.PodUID != "pod" && in.State() != before {
				t.Errorf("%+v led from %s to %s", c, before, in.State())
			}
			for _, e := range effects {
				if _, answer := e.(Send); !answer && c.PodUID != "pod" {
					t.Errorf("%+v led to %T", c, e)
				}
			}
		}
	})
}

// FuzzTable holds that a table of headers that can be read is read the same again
// after it was written: a target gets the headers that the source had.
func FuzzTable(f *testing.F) {
	f.Add([]byte(`{"a":{"I":5},"b":{"F":{"c":{"A":[{"t":true},{"V":null}]}}},"d":{"x":"AAE="},"e":{"D":{"scale":2,"value":5}}}`))
	f.Add([]byte(`{"a":{"T":9223372036854775807}}`))
	f.Add([]byte(`{"a":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var table, again Table
		if json.Unmarshal(b, &table) != nil {
			return
		}
		out, err := json.Marshal(table)
		if err != nil {
			t.Fatalf("read and not written: %v", err)
		}
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("written and not read: %v: %s", err, out)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(out) {
			t.Errorf("%s became %s, %v", out, second, err)
		}
	})
}

// FuzzMessages holds that reports and holds of whoever may write to the broker are
// read or refused, and nothing else.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"version":1,"kind":"HELLO","status":{"podUID":"p","state":"Live","number":18446744073709551615,"rate":1e308}}`))
	f.Add([]byte(`{"version":1,"migration":"m","sourcePodUID":"p","deadlineMillis":-9223372036854775808}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var r Report
		_ = json.Unmarshal(b, &r)
		var h Hold
		if json.Unmarshal(b, &h) != nil {
			return
		}
		in := New(Config{Queue: "q", Prefetch: 4, Incarnation: "i", Identity: IdentityMessageID})
		in.Step(1, Looked{Pod: "pod"})
		for i, d := range []Decision{Undecided, Commit, Aborted} {
			in.Step(time.Duration(2+i), Connected{Pod: "pod", Hold: &HoldView{Hold: h, Target: i == 1, Decision: d}})
			in.Step(time.Duration(2+i), Tick{})
		}
	})
}
