package integration

import (
	"fmt"
	"sync"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// TestRestartAtEveryEffect kills the manager before and after each effect that
// it has, one kill per migration, and expects the next one to bring the
// migration to the same end: one target, one replay queue, nothing left.
func TestRestartAtEveryEffect(t *testing.T) {
	t.Parallel()
	count, _ := effects(t, killNever)
	const known = 30 // fewer would mean that the killer misses some
	if count < known {
		t.Fatalf("a migration has %d effects, expected at least %d", count, known)
	}
	for n := 1; n <= count; n++ {
		for _, after := range []bool{false, true} {
			when := map[bool]string{false: "before", true: "after"}[after]
			t.Run(fmt.Sprintf("%s-%02d", when, n), func(t *testing.T) {
				t.Parallel()
				_, killed := effects(t, killAt(n, after))
				t.Logf("killed %s %q", when, killed)
				// How often the copy is asked whether it is awake differs from run to run.
				if killed == "" && n < count-5 {
					t.Errorf("effect %d did not happen", n)
				}
			})
		}
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
func effects(t *testing.T, kill kills) (count int, killed string) {
	t.Helper()
	w := newWorld(t)
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
			m := w.get("move")
			return m != nil && m.Status.Phase == v1alpha1.PhaseCompleted && len(m.Finalizers) == 0
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
