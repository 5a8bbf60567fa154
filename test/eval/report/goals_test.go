package report

import (
	"strings"
	"testing"
	"time"
)

// TestGoals: the worst of the medians counts, of what was measured.
func TestGoals(t *testing.T) {
	run := func(way Way, rate float64, total time.Duration) Run {
		return Run{Case: Case{Part: Rates, Way: way, Rate: rate, Work: publishedWork, Ballast: little}, Total: total,
			PauseCheckpoint: 100 * ms, Freeze: 60 * ms, PauseHandover: 45 * ms}
	}
	r := Report{Runs: []Run{
		run(Pod, 20, 2*time.Second), run(Pod, 60, 3500*ms), run(Pod, 60, 2700*ms), run(Pod, 60, 2800*ms), run(Pod, 100, 4*time.Second),
		run(StatefulSet, 20, 5100*ms), run(StatefulSet, 120, 7*time.Second),
	}}
	want := map[string]struct {
		measured   string
		met, known bool
	}{
		"shadow-pod: total at 10–60/s":                    {"2.800 s, at 60/s", true, true},
		"shadow-pod: total at 80–120/s":                   {"4.000 s, at 100/s", true, true},
		"shadow-deployment: total at 10–60/s":             {},
		"shadow-statefulset: total at 10–60/s":            {"5.100 s, at 20/s", false, true},
		"shadow-statefulset: total at 80–120/s":           {"7.000 s, at 120/s", true, true},
		"pause at the hand-over, at 100/s":                {"0.045 s, at 100/s", true, true},
		"pause at the checkpoint, less CRIU's own freeze": {"0.040 s, at 20/s", false, true},
		"Transferring / copy of the images, 256 MiB":      {},
	}
	seen := 0
	for _, g := range r.goals() {
		w, ok := want[g.what]
		if !ok {
			continue
		}
		seen++
		if g.known != w.known || g.known && (g.measured != w.measured || g.met != w.met) {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d goals are there", seen, len(want))
	}
	for _, g := range quick().goals() { // the restore there takes as long as with a pod's start
		if g.most == "1.3" && !strings.HasPrefix(g.what, "Restoring") && (!g.met || g.measured != "1.00") {
			t.Errorf("at its floor: %+v", g)
		}
	}
}
