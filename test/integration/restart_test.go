package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// stride is how many effects lie between two kills of a kind that has an owner: its
// migrations take longer, and most of its effects are those of the standalone pod, which
// is killed at every one. The first is drawn with a fixed seed, for each kind and
// for before and after apart, so that they do not all leave out the same.
// With everyEffect set in the environment none is left out.
const (
	stride      = 6
	everyEffect = "MS2M_EVERY_EFFECT"
)

// TestRestartAtEveryEffect kills the manager before and after each effect that
// it has, one kill per migration, and expects the next one to bring the
// migration to the same end: one target, one COMMIT per hop, nothing left.
func TestRestartAtEveryEffect(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	for _, k := range kinds {
		step, first := stride, [2]int{1 + draw.IntN(stride), 1 + draw.IntN(stride)}
		if k.workload == nil || os.Getenv(everyEffect) != "" {
			step, first = 1, [2]int{1, 1}
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			count, _ := effects(t, k, killNever)
			if known := 30 * k.hops; count < known { // the killer would miss some
				t.Fatalf("a migration has %d effects, expected at least %d", count, known)
			}
			for i, when := range []string{"before", "after"} {
				for n := first[i]; n <= count; n += step {
					t.Run(fmt.Sprintf("%s-%02d", when, n), func(t *testing.T) {
						t.Parallel()
						_, killed := effects(t, k, killAt(n, when == "after"))
						t.Logf("killed %s %q", when, killed)
						// How often the copy is asked whether it is awake differs from run to run.
						if killed == "" && n < count-8*k.hops {
							t.Errorf("effect %d did not happen", n)
						}
					})
				}
			}
		})
	}
}

// kills decides by the number of an effect.
type kills func(n int) (before, after bool)

func killNever(int) (bool, bool) { return false, false }

func killAt(at int, after bool) kills {
	return func(n int) (bool, bool) { return n == at && !after, n == at && after }
}

// effects runs a migration whose first manager is killed, and returns how many
// effects that manager had, and at which it was killed.
func effects(t *testing.T, k kind, kill kills) (count int, killed string) {
	t.Helper()
	w := newWorldOf(t, k)
	var mu sync.Mutex
	dead := make(chan struct{})
	first := w.start(func(effect string) (before, after bool) {
		mu.Lock()
		defer mu.Unlock()
		count++
		before, after = kill(count)
		if (before || after) && killed == "" {
			killed = effect
			close(dead)
		}
		return before, after
	})
	w.create()
	w.eventually("completion, or the kill", func() bool {
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
	was := killed
	mu.Unlock()
	if was != "" {
		w.start(nil)
	}
	m := w.phase(v1alpha1.PhaseCompleted)
	w.moved(m)
	w.clean()
	return count, was
}
