package load

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// send is what producers sent, and one order in which a queue may hold it.
func send(producers, each int, shuffle *rand.Rand) (Sent, []message) {
	sent := make(Sent)
	var turns []string
	for i := range producers {
		name := fmt.Sprintf("p%d", i+1)
		sent[name] = []ledger.Sum{}
		for range each {
			turns = append(turns, name)
		}
	}
	shuffle.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	var queue []message
	for _, name := range turns {
		seq := uint64(len(sent[name])) + 1
		sent[name] = append(sent[name], ledger.Body(body(name, seq, 64)))
		queue = append(queue, message{name, seq})
	}
	return sent, queue
}

// counted is a counter that was given these messages.
func counted(messages []message) (ledger.State, []Output) {
	l := ledger.New()
	var outputs []Output
	for _, m := range messages {
		outputs = append(outputs, output(l.Add(m.producer, m.seq, body(m.producer, m.seq, 64))))
	}
	return l.State(), outputs
}

func output(e ledger.Entry) Output {
	return Output{ID: "in/" + ledger.MessageID(e.Producer, e.Seq) + "/0", Entry: e}
}

// indexOf finds a message that is not at either end.
func indexOf(t *testing.T, messages []message, m message) int {
	t.Helper()
	i := slices.Index(messages, m)
	if i < 0 {
		t.Fatalf("no message %v", m)
	}
	return i
}

func TestJudgeGoodRun(t *testing.T) {
	sent, queue := send(3, 100, rand.New(rand.NewPCG(1, 2)))
	state, outputs := counted(queue)
	v := Judge(sent, state, outputs)
	if !v.OK() || v.Sent != 300 || v.Counted != 300 || !v.ChainEqual {
		t.Fatalf("%+v", v)
	}
	if got, want := v.String(), "lost 0, doubled 0, reordered 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestJudgeState gives the counter other messages than were sent; what it put
// out is what it counted.
func TestJudgeState(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, queue []message) []message
		want   Tally
	}{
		{"lost", func(t *testing.T, q []message) []message {
			i := indexOf(t, q, message{"p2", 50})
			return slices.Delete(q, i, i+1)
		}, Tally{Lost: 1}},
		{"lost the last", func(t *testing.T, q []message) []message {
			i := indexOf(t, q, message{"p1", 100})
			return slices.Delete(q, i, i+1)
		}, Tally{Lost: 1}},
		{"doubled", func(t *testing.T, q []message) []message {
			i := indexOf(t, q, message{"p2", 50})
			return slices.Insert(q, i, q[i])
		}, Tally{Doubled: 1}},
		{"redelivered later", func(t *testing.T, q []message) []message {
			i, j := indexOf(t, q, message{"p2", 50}), indexOf(t, q, message{"p2", 60})
			return slices.Insert(q, j, q[i])
		}, Tally{Doubled: 1}},
		{"swapped", func(t *testing.T, q []message) []message {
			i, j := indexOf(t, q, message{"p2", 50}), indexOf(t, q, message{"p2", 51})
			q[i], q[j] = q[j], q[i]
			return q
		}, Tally{Reordered: 1}},
		{"one lost, one doubled", func(t *testing.T, q []message) []message {
			q[indexOf(t, q, message{"p2", 50})] = message{"p2", 49}
			return q
		}, Tally{Lost: 1, Doubled: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent, queue := send(3, 100, rand.New(rand.NewPCG(3, 4)))
			state, outputs := counted(tc.change(t, queue))
			v := Judge(sent, state, outputs)
			if v.State != tc.want || v.Outputs != tc.want {
				t.Errorf("state %v, outputs %v, want %v", v.State, v.Outputs, tc.want)
			}
			if v.OK() || v.ChainEqual || len(v.Problems) == 0 {
				t.Errorf("not noticed: %+v", v)
			}
		})
	}
}

// TestJudgeOutputs leaves the counter's memory right and changes its outputs.
func TestJudgeOutputs(t *testing.T) {
	for _, tc := range []struct {
		name     string
		change   func([]Output) []Output
		want     Tally
		repeated uint64
	}{
		{"lost", func(o []Output) []Output { return slices.Delete(o, 70, 71) }, Tally{Lost: 1}, 0},
		{"lost the last", func(o []Output) []Output { return o[:len(o)-1] }, Tally{Lost: 1}, 0},
		{"repeated", func(o []Output) []Output { return slices.Insert(o, 80, o[70]) }, Tally{Doubled: 1}, 1},
		{"doubled with another content", func(o []Output) []Output {
			again := o[70]
			again.Count++
			return slices.Insert(o, 71, again)
		}, Tally{Doubled: 1}, 0},
		{"swapped", func(o []Output) []Output { o[70], o[71] = o[71], o[70]; return o }, Tally{Reordered: 1}, 0},
		{"foreign", func(o []Output) []Output {
			return append(o, output(ledger.Entry{Producer: "p9", Seq: 1, Count: 301}))
		}, Tally{Foreign: 1}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent, queue := send(3, 100, rand.New(rand.NewPCG(5, 6)))
			state, outputs := counted(queue)
			v := Judge(sent, state, tc.change(outputs))
			if v.Outputs != tc.want || v.Repeated != tc.repeated {
				t.Errorf("outputs %v, repeated %d, want %v, %d", v.Outputs, v.Repeated, tc.want, tc.repeated)
			}
			if !v.State.OK() {
				t.Errorf("state %v", v.State)
			}
			if v.OK() {
				t.Error("not noticed")
			}
			if got, want := v.OKWithoutRepeated(), tc.repeated > 0; got != want {
				t.Errorf("without what is repeated: %t, want %t", got, want)
			}
		})
	}
}

// A counter whose memory is older than its outputs has lost messages that it
// had put out already.
func TestJudgeRolledBackMemory(t *testing.T) {
	sent, queue := send(3, 100, rand.New(rand.NewPCG(7, 8)))
	_, before := counted(queue[:200])
	rolledBack := slices.Concat(queue[:190], queue[200:])
	state, after := counted(rolledBack)
	v := Judge(sent, state, slices.Concat(before, after[190:]))
	if want := (Tally{Lost: 10}); v.State != want {
		t.Errorf("state %v, want %v", v.State, want)
	}
	if !v.Outputs.OK() {
		// Each message was put out once: by the memory that is gone, or by the present one.
		t.Errorf("outputs %v", v.Outputs)
	}
	if v.OK() || v.ChainEqual {
		t.Error("not noticed")
	}
}

// Where the history cannot be read, since an output is missing, the numbers of
// the state alone must tell.
func TestJudgeStateWithoutHistory(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func([]message) []message
		want   Tally
	}{
		{"lost", func(q []message) []message { return slices.Delete(q, 40, 43) }, Tally{Lost: 3}},
		{"doubled", func(q []message) []message { return slices.Insert(q, 40, q[39]) }, Tally{Doubled: 1}},
		{"swapped", func(q []message) []message { q[40], q[41] = q[41], q[40]; return q }, Tally{Reordered: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent, queue := send(1, 100, rand.New(rand.NewPCG(9, 10)))
			state, outputs := counted(tc.change(queue))
			v := Judge(sent, state, slices.Delete(outputs, 10, 11))
			if v.State != tc.want || v.OK() {
				t.Errorf("state %v, want %v", v.State, tc.want)
			}
		})
	}
}

func TestJudgeAlteredBody(t *testing.T) {
	sent, queue := send(2, 10, rand.New(rand.NewPCG(11, 12)))
	state, outputs := counted(queue)
	sent["p1"][4][0] ^= 1
	if v := Judge(sent, state, outputs); v.OK() || v.ChainEqual {
		t.Errorf("not noticed: %+v", v)
	}
}

// Any order of the queue is a good run; any other list of messages is not, and
// both tallies say how it differs.
func TestJudgeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		producers, each := rapid.IntRange(1, 4).Draw(t, "producers"), rapid.IntRange(1, 12).Draw(t, "each")
		sent, queue := send(producers, each, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		given := slices.Clone(queue)
		for range rapid.IntRange(0, 4).Draw(t, "faults") {
			if len(given) == 0 {
				break
			}
			i, j := rapid.IntRange(0, len(given)-1).Draw(t, "i"), rapid.IntRange(0, len(given)-1).Draw(t, "j")
			switch rapid.SampledFrom([]string{"lose", "double", "swap"}).Draw(t, "fault") {
			case "lose":
				given = slices.Delete(given, i, i+1)
			case "double":
				given = slices.Insert(given, j, given[i])
			case "swap":
				given[i], given[j] = given[j], given[i]
			}
		}
		state, outputs := counted(given)
		v := Judge(sent, state, outputs)
		quiet := func(string, ...any) {}
		want := count(sent, quiet, quiet, given)
		if v.State != want && !want.OK() || v.Outputs != want {
			t.Fatalf("state %v, outputs %v, want %v", v.State, v.Outputs, want)
		}
		if v.OK() != inOrder(sent, given) {
			t.Fatalf("OK is %v for %v: %+v", v.OK(), given, v)
		}
	})
}

// inOrder is what a good run is, in other words than the judge's: each
// producer's messages are 1, 2, 3, … up to what it sent.
func inOrder(sent Sent, given []message) bool {
	next := make(map[string]uint64)
	for _, m := range given {
		next[m.producer]++
		if m.seq != next[m.producer] {
			return false
		}
	}
	want := make(map[string]uint64)
	for name, bodies := range sent {
		want[name] = uint64(len(bodies))
	}
	return maps.Equal(next, want)
}
