package load

import (
	"math/rand/v2"
	"slices"
	"testing"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// TestJudgeReplicas deals messages to two counters, rightly and wrongly.
func TestJudgeReplicas(t *testing.T) {
	lost := message{"p2", 50}
	for _, tc := range []struct {
		name   string
		change func(one, other []message) ([]message, []message)
		want   Tally
		ok     bool // but for one late message
	}{
		{"dealt out", func(a, b []message) ([]message, []message) { return a, b }, Tally{}, true},
		{"all to one", func(a, b []message) ([]message, []message) { return nil, inSending(a, b) }, Tally{}, true},
		{"given back to the other", func(a, b []message) ([]message, []message) {
			i := slices.Index(a, lost)
			return slices.Delete(a, i, i+1), append(b, lost)
		}, Tally{Reordered: 1}, true},
		{"lost", func(a, b []message) ([]message, []message) {
			i := slices.Index(a, lost)
			return slices.Delete(a, i, i+1), b
		}, Tally{Lost: 1}, false},
		{"by both", func(a, b []message) ([]message, []message) {
			return a, inSending([]message{lost}, b)
		}, Tally{Doubled: 1}, false},
		{"twice by one", func(a, b []message) ([]message, []message) {
			return slices.Insert(a, slices.Index(a, lost), lost), b
		}, Tally{Doubled: 1}, false},
		{"swapped", func(a, b []message) ([]message, []message) {
			slices.Reverse(a)
			return a, b
		}, Tally{Reordered: 147}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent, queue := send(3, 100, rand.New(rand.NewPCG(13, 14)))
			var one, other []message
			for _, m := range queue {
				if m.seq%2 == 0 {
					one = append(one, m)
				} else {
					other = append(other, m)
				}
			}
			one, other = tc.change(one, other)
			var replicas []Replica
			for _, q := range [][]message{one, other} {
				state, outputs := counted(q)
				replicas = append(replicas, Replica{state, outputs})
			}
			v := JudgeReplicas(sent, replicas...)
			if v.State != tc.want || v.Outputs != tc.want {
				t.Errorf("%s, want %v", v.Numbers(), tc.want)
			}
			if got := v.OKWithoutLate(1); got != tc.ok {
				t.Errorf("OK is %t: %+v", got, v)
			}
			if v.OK() != tc.want.OK() {
				t.Errorf("OK though %v", v.State)
			}
		})
	}
}

// inSending merges messages into the order of sending, by number.
func inSending(lists ...[]message) []message {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b message) int { return int(a.seq) - int(b.seq) })
	return all
}

// A replica that did not put out what it counted is noticed, by the numbers.
func TestJudgeReplicasWithoutHistory(t *testing.T) {
	sent, queue := send(2, 50, rand.New(rand.NewPCG(15, 16)))
	one, outputs := counted(queue[:60])
	other, rest := counted(queue[61:])
	v := JudgeReplicas(sent, Replica{one, slices.Delete(outputs, 10, 11)}, Replica{other, rest})
	if (v.State != Tally{Lost: 1}) || (v.Outputs != Tally{Lost: 2}) || v.ChainEqual || v.OKWithoutLate(10) {
		t.Errorf("not noticed: %s, %+v", v.Numbers(), v)
	}
}

// TestDeal judges counters that put out to one queue: each is given what its own
// memory made, and neither a memory that is gone nor one that is there twice passes.
func TestDeal(t *testing.T) {
	sent, queue := send(3, 60, rand.New(rand.NewPCG(17, 18)))
	var states []ledger.State
	var outputs []Output
	for i, mark := range []string{"one", "two", "three"} {
		var own []message
		for j, m := range queue {
			if j%3 == i {
				own = append(own, m)
			}
		}
		state, told := counted(own)
		state.Mark = mark
		for j := range told {
			told[j].Mark = mark
		}
		states, outputs = append(states, state), append(outputs, told...)
	}
	idle := ledger.State{Mark: "idle"} // one that came late and has counted nothing
	for _, tc := range []struct {
		name   string
		states []ledger.State
		want   Tally // in memory
		ok     bool
	}{
		{"each its own", append(slices.Clone(states), idle), Tally{}, true},
		{"a memory is gone", states[:2], Tally{Lost: 60}, false},
		{"replaced by an empty one", append(slices.Clone(states[:2]), idle), Tally{Lost: 60}, false},
		{"a memory is there twice", append(slices.Clone(states), states[1]), Tally{Doubled: 60}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := JudgeReplicas(sent, Deal(tc.states, outputs)...)
			if v.State != tc.want || v.OK() != tc.ok {
				t.Errorf("%s, OK is %t: %v", v.Numbers(), v.OK(), v.Problems)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	s := Sizes{Min: 100, Max: 1 << 20}
	small, big := 0, 0
	for seq := uint64(1); seq <= 1000; seq++ {
		n := s.of("p1", seq)
		if n < s.Min || n > s.Max || n != s.of("p1", seq) || n != len(body("p1", seq, n)) {
			t.Fatalf("message %d has %d bytes, then %d", seq, n, s.of("p1", seq))
		}
		if n < 1000 {
			small++
		}
		if n > 100_000 {
			big++
		}
	}
	if s.of("p1", 1) != s.Min || s.of("p1", 2) != s.Max || small < 150 || big < 150 {
		t.Errorf("%d small and %d big ones of 1000", small, big)
	}
	if n := (Sizes{Min: 64}).of("p1", 7); n != 64 {
		t.Errorf("%d bytes, want 64", n)
	}
}
