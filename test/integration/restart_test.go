package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/failpoint"
)

// stride is how many effects lie between two deaths in a migration of a ReplicaSet's
// pod, whose strategy is that of the standalone pod: most of its effects are those.
// The first is drawn with a fixed seed, for each kind.
// With everyEffect set in the environment none is left out.
const (
	stride      = 6
	everyEffect = "MS2M_EVERY_EFFECT"
)

// TestRestartAtEveryEffect lets the manager die once in each migration, and expects
// the next one to bring it to the same end, with nothing left behind: before the first
// effect that it has, and after each that changes something. Before the next is the same
// moment for the world; with everyEffect set in the environment it dies there, too.
func TestRestartAtEveryEffect(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	every := os.Getenv(everyEffect) != ""
	for _, k := range kinds {
		step, first := stride, draw.IntN(stride)
		if k.workload == nil || k.strategy != "" || every {
			step, first = 1, 0
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			whole := restart(t, k, nil)
			if known := 30 * k.hops; len(whole.effects) < known {
				t.Fatalf("a migration has %d effects, expected at least %d: %v", len(whole.effects), known, whole.effects)
			}
			t.Logf("%d effects, ends as %s", len(whole.effects), whole.end)
			for n := first; n < len(whole.effects); n += step {
				var sides []failpoint.Side
				if n == 0 || every {
					sides = append(sides, failpoint.Before)
				}
				if whole.effects[n].changes() || every {
					sides = append(sides, failpoint.After)
				}
				for _, side := range sides {
					t.Run(fmt.Sprintf("%03d-%s-%s", n+1, side, whole.effects[n].name), func(t *testing.T) {
						t.Parallel()
						one := restart(t, k, &death{whole.effects[n], side})
						if !one.died && !whole.effects[n].varies() {
							t.Errorf("it had no %v: %v", whole.effects[n], one.effects)
						}
						if one.end != whole.end {
							t.Errorf("ends as %s\nwant %s", one.end, whole.end)
						}
					})
				}
			}
		})
	}
}

// occurrence is one effect of a run: the nth of its name. That tells it from others
// in another run, too, in which a poll more or less shifts their numbers.
type occurrence struct {
	name string
	nth  int
}

// varies reports whether another run may have fewer of the name: how often somebody
// is asked, progress is written, and something is done again on an old view, depends
// on the time that things take.
func (o occurrence) varies() bool { return o.nth > 1 }

// changes reports whether the effect leaves anything behind.
func (o occurrence) changes() bool {
	return !slices.Contains([]string{"Look", "Writable", "Exists", "ReadDecision"}, o.name)
}

// death is where a manager dies.
type death struct {
	occurrence
	side failpoint.Side
}

// journey is a migration whose first manager may have died.
type journey struct {
	effects []occurrence // of the first manager
	died    bool
	end     string
}

// restart runs a migration whose first manager dies (nil: does not), and checks what
// every migration is to leave.
func restart(t *testing.T, k kind, at *death) journey {
	t.Helper()
	w := newWorldOf(t, k)
	before := w.inventory(w.source.Name)
	var (
		mu   sync.Mutex
		r    journey
		nth  = map[string]int{}
		dead = make(chan struct{})
	)
	first := w.start(func(e failpoint.Effect) bool {
		mu.Lock()
		defer mu.Unlock()
		if e.Side == failpoint.Before {
			nth[e.Name]++
			r.effects = append(r.effects, occurrence{e.Name, nth[e.Name]})
		}
		if at == nil || e.Side != at.side || e.Name != at.name || nth[e.Name] != at.nth {
			return false
		}
		r.died = true
		close(dead)
		return true
	})
	w.create()
	w.eventually("the end, or the death", func() bool {
		select {
		case <-dead:
			return true
		default:
			m := w.see()
			return m.Status.Phase == v1alpha1.PhaseCompleted && len(m.Finalizers) == 0
		}
	})
	first.end()
	mu.Lock()
	defer mu.Unlock()
	if r.died {
		w.start(nil)
	}
	w.eventually("the end", func() bool {
		m := w.see()
		return m.Status.Phase == v1alpha1.PhaseCompleted && len(m.Finalizers) == 0
	})
	m := w.get("move")
	pod := w.moved(m)
	w.clean()
	if pod != nil {
		w.unchanged(before, pod.Name)
	}
	r.end = w.ended(m)
	return r
}
