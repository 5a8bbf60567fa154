package states_test

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/docs/states"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestPicture: the picture that is checked in was made of this table.
func TestPicture(t *testing.T) {
	b, err := os.ReadFile("../states.svg")
	if err != nil {
		t.Fatal(err)
	}
	if picture, _, ok := strings.Cut(string(b), "<!-- made by"); !ok || picture+states.Mark(picture) != string(b) {
		t.Error("docs/states.svg is not what the table says: make states")
	}
}

type change struct{ from, to handover.State }

// atOnce are pairs of transitions that follow each other in one step: nothing
// was in hand that had to be waited for.
var atOnce = map[change]bool{
	{handover.Live, handover.Paused}:     true,
	{handover.Relaying, handover.Paused}: true,
	{handover.Paused, handover.Void}:     true, // restored, and ABORT read
}

// TestTable: an instance to which anything may happen changes its state as
// the table says, in all the ways of the table and in no other.
func TestTable(t *testing.T) {
	want := map[change]bool{}
	for _, tr := range states.Transitions {
		for _, from := range tr.From {
			want[change{from, tr.To}] = true
		}
	}
	seen := map[change]bool{}
	for seed := range uint64(20_000) {
		w := walk{rnd: rand.New(rand.NewPCG(seed, 0)), pod: "a", in: handover.New(handover.Config{Queue: "q", Prefetch: 2, Incarnation: "i"})}
		w.sequential = w.chance(3)
		for range 120 {
			before := w.in.State()
			ev := w.event()
			w.step(ev)
			c := change{before, w.in.State()}
			if c.from == c.to {
				continue
			}
			seen[c] = true
			if !want[c] && !atOnce[c] {
				t.Errorf("seed %d: %s → %s by %T %+v is not in the table", seed, c.from, c.to, ev, ev)
			}
		}
	}
	for c := range want {
		if !seen[c] {
			t.Errorf("%s → %s is in the table and was never seen", c.from, c.to)
		}
	}
}

// walk is a random walk of an instance.
type walk struct {
	rnd       *rand.Rand
	in        *handover.Instance
	now       time.Duration
	pod       string
	connected bool
	pending   []handover.Event // what effects lead to
	decision  handover.Decision
	hold      *handover.HoldView
	attempt   int
	tag       uint64

	sequential bool
}

func (w *walk) chance(in int) bool { return w.rnd.IntN(in) == 0 }

func (w *walk) event() handover.Event {
	w.now += time.Duration(w.rnd.Int64N(int64(40 * time.Millisecond)))
	if !w.connected {
		if w.chance(20) {
			w.pod = "b"
		}
		if w.hold == nil && !w.in.Begun() && w.chance(2) {
			w.hold = &handover.HoldView{Hold: handover.Hold{Migration: "m", DeadlineMillis: 100}, Target: w.chance(2)}
			w.hold.Sibling, w.hold.Hold.Sequential = !w.hold.Target && w.chance(2), w.sequential
		}
		w.connected = true
		return handover.Connected{Pod: w.pod, Decision: w.decision, Hold: w.view()}
	}
	if n := len(w.pending); n > 0 && !w.chance(3) {
		ev := w.pending[0]
		w.pending = w.pending[1:]
		return ev
	}
	switch w.rnd.IntN(12) {
	case 0:
		if w.chance(4) {
			w.connected, w.pending = false, nil
			return handover.Disconnected{}
		}
	case 1:
		if w.in.State() == handover.Paused && w.chance(2) {
			w.pod = "b"
			return handover.Looked{Pod: w.pod}
		}
	case 2:
		w.now += time.Duration(w.rnd.Int64N(int64(time.Second)))
	case 3, 4:
		w.tag++
		return handover.Delivered{Tag: w.tag, Identity: "x" + string(rune('a'+w.tag%26))}
	case 5:
		if w.chance(10) && w.decision == handover.Undecided {
			w.decision = handover.Aborted
			if w.chance(3) {
				w.decision = handover.Commit
			}
		}
		return handover.DecisionRead{Decision: w.decision}
	case 6, 7, 8, 9:
		return w.command()
	case 10:
		if w.in.State() == handover.Replaying {
			return w.entry()
		}
	}
	return handover.Tick{}
}

func (w *walk) view() *handover.HoldView {
	if w.hold == nil || w.chance(10) {
		return nil
	}
	h := *w.hold
	h.Decision = w.decision
	return &h
}

func (w *walk) command() handover.Event {
	kinds := []handover.CommandKind{handover.Prepare, handover.Prepare, handover.Resume, handover.StartReplay, handover.Freeze, handover.Hello, handover.Abort}
	c := handover.Command{Version: handover.Version, Kind: kinds[w.rnd.IntN(len(kinds))], Migration: "m", Epoch: 1, PodUID: w.pod,
		ReplayQueue: "r", DeadlineMillis: 1 + w.rnd.Int64N(1000), LeaseMillis: 5000}
	if c.Kind == handover.Prepare && w.chance(2) {
		w.attempt++
	}
	c.Attempt, c.Sequential = w.attempt, w.sequential && c.Kind == handover.Prepare
	return handover.Commanded{Command: c, ReplyTo: "r"}
}

func (w *walk) entry() handover.Event {
	w.tag++
	n := w.in.Number()
	if w.chance(2) {
		return handover.Entered{Tag: w.tag, Header: handover.EntryHeader{Kind: handover.EntryEnd, Number: n}}
	}
	return handover.Entered{Tag: w.tag, Header: handover.EntryHeader{Kind: handover.EntryMessage, Number: n + 1, Outcome: handover.Done}}
}

// step tells the event and notes what its effects lead to.
func (w *walk) step(ev handover.Event) {
	for _, e := range w.in.Step(w.now, ev) {
		switch e := e.(type) {
		case handover.Begin:
			w.pending = append(w.pending, handover.Handled{Item: e.Item, Outcome: handover.Done})
		case handover.Replay:
			w.pending = append(w.pending, handover.Handled{Item: e.Item, Outcome: handover.Done})
		case handover.PublishOutputs:
			w.pending = append(w.pending, handover.OutputsConfirmed(e))
		case handover.PublishEntry:
			w.pending = append(w.pending, handover.EntryConfirmed{Item: e.Item})
		case handover.PublishEnd:
			w.pending = append(w.pending, handover.EndConfirmed{Migration: e.Migration})
		case handover.Release:
			w.pending = append(w.pending, handover.Released{})
		case handover.WriteDecision:
			if w.decision == handover.Undecided {
				w.decision = e.Decision
			}
			w.pending = append(w.pending, handover.DecisionRead{Decision: w.decision})
		case handover.ReadDecision:
			w.pending = append(w.pending, handover.DecisionRead{Decision: w.decision})
		case handover.ReadHold:
			w.pending = append(w.pending, handover.HoldRead{Hold: w.view()})
		case handover.Drop:
			w.connected, w.pending = false, nil
			w.step(handover.Disconnected{})
		}
	}
}
