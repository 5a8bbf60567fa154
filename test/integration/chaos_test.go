package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
)

// chaosSeeds may name, in the environment, how many seeds are tried for each
// strategy, and from which on: 20, or 20@1000.
const chaosSeeds = "MS2M_CHAOS_SEEDS"

// TestChaos moves pods over a bad line to the API server: what is read is old, events
// of watches are lost or come twice, writes are refused or their answers lost. All
// end well, as if nothing had been, and without a storm of writes or events.
func TestChaos(t *testing.T) {
	t.Parallel()
	n, first := uint64(3), uint64(1)
	if v := os.Getenv(chaosSeeds); v != "" {
		count, from, _ := strings.Cut(v, "@")
		var err error
		if n, err = strconv.ParseUint(count, 10, 32); err != nil {
			t.Fatalf("%s=%q: %v", chaosSeeds, v, err)
		}
		if from != "" {
			if first, err = strconv.ParseUint(from, 10, 32); err != nil {
				t.Fatalf("%s=%q: %v", chaosSeeds, v, err)
			}
		}
	}
	for _, k := range []kind{standalone, deployment, shadowed, sequential} {
		for seed := first; seed < first+n; seed++ {
			t.Run(fmt.Sprintf("%s/%d", k.name, seed), func(t *testing.T) {
				t.Parallel()
				chaos(t, k, seed)
			})
		}
	}
}

// What a migration may write and tell, for each hop: a quiet one needs half of it.
const (
	writesPerHop = 80
	eventsPerHop = 60
)

func chaos(t *testing.T, k kind, seed uint64) {
	t.Helper()
	w := newWorldOf(t, k)
	before := w.inventory(w.source.Name)
	l, told := newLine(seed), &recorder{}
	w.startWith(l.config(), nil, func(r *controller.Reconciler) { r.Recorder = told })
	w.create()
	w.eventually("the end", func() bool {
		m := w.see()
		return m.Status.Phase == v1alpha1.PhaseCompleted && len(m.Finalizers) == 0 || m.Status.Phase == v1alpha1.PhaseFailed
	})
	m := w.get("move")
	pod := w.moved(m)
	w.clean()
	if pod != nil {
		w.unchanged(before, pod.Name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d writes, %d events, went wrong: %v", l.writes, len(told.all), l.faults)
	if l.writes > writesPerHop*k.hops {
		t.Errorf("%d writes", l.writes)
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	if len(told.all) > eventsPerHop*k.hops {
		t.Errorf("%d events: %v", len(told.all), told.all)
	}
	for _, h := range m.Status.Hops {
		if h.Attempts > 1 {
			t.Errorf("hop %d took %d attempts", h.Hop, h.Attempts)
		}
	}
}

// recorder keeps what is told in events.
type recorder struct {
	mu  sync.Mutex
	all []string
}

func (r *recorder) Eventf(_, _ runtime.Object, kind, reason, action, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind == corev1.EventTypeWarning {
		reason = "warning: " + reason
	}
	r.all = append(r.all, reason+": "+fmt.Sprintf(note, args...))
}
