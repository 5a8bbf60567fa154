package ledger

import (
	"encoding/json"
	"testing"
)

func TestMessageID(t *testing.T) {
	for _, producer := range []string{"p1", "a-b", "x-1"} {
		name, seq, err := ParseMessageID(MessageID(producer, 42))
		if name != producer || seq != 42 || err != nil {
			t.Errorf("%s: got %q, %d, %v", producer, name, seq, err)
		}
	}
	for _, id := range []string{"", "p1", "-1", "p1-", "p1-0", "p1-x", "p1-+1", "1"} {
		if name, seq, err := ParseMessageID(id); err == nil {
			t.Errorf("%q: taken for %q, %d", id, name, seq)
		}
	}
}

// The chain tells messages apart in everything that makes them up, and in
// their order.
func TestChain(t *testing.T) {
	a, b := Body([]byte("a")), Body([]byte("b"))
	chains := map[Sum]string{}
	for name, s := range map[string]Sum{
		"nothing":        {},
		"one":            Sum{}.Next("p1", 1, a),
		"other body":     Sum{}.Next("p1", 1, b),
		"other number":   Sum{}.Next("p1", 2, a),
		"other producer": Sum{}.Next("p2", 1, a),
		"twice":          Sum{}.Next("p1", 1, a).Next("p1", 1, a),
		"in order":       Sum{}.Next("p1", 1, a).Next("p1", 2, b),
		"swapped":        Sum{}.Next("p1", 2, b).Next("p1", 1, a),
	} {
		if other, ok := chains[s]; ok {
			t.Errorf("%s and %s have one chain", name, other)
		}
		chains[s] = name
	}
}

func TestStateIsACopy(t *testing.T) {
	l := New()
	entry := l.Add("p1", 1, []byte("a"))
	before := l.State()
	l.Add("p1", 2, []byte("b"))
	if before.Count != 1 || before.Chain != entry.Chain || before.Producers["p1"].Last != 1 {
		t.Errorf("%+v", before)
	}
	text, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var after State
	if err := json.Unmarshal(text, &after); err != nil {
		t.Fatal(err)
	}
	if after.Chain != before.Chain || after.Producers["p1"] != before.Producers["p1"] {
		t.Errorf("%+v, want %+v", after, before)
	}
}
