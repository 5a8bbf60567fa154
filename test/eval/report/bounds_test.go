package report

import (
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// quick is a report in which everything takes as long as its floor; the end of the source half of it.
func quick() Report {
	r := Report{Floor: floor()}
	for _, mib := range []int{little, much} {
		one := sample().Runs[0]
		one.Ballast, one.Phases, one.Total = mib, map[v1alpha1.MigrationPhase]time.Duration{}, 0
		one.Image = r.Floor.bytes(mib)
		if mib == much {
			one.Part = Memory
		}
		r.Runs = append(r.Runs, one)
		for _, c := range comparisons() {
			took := r.compare(c, mib).least
			switch c.what {
			case "pause at the checkpoint":
				one.PauseCheckpoint = took
			case "pause at the hand-over":
				one.PauseHandover = took
			case "total time":
				one.Total = took
			case "Finalizing":
				one.Phases[v1alpha1.PhaseFinalizing] = took / 2
			default:
				one.Phases[v1alpha1.MigrationPhase(c.what)] = took
			}
		}
		r.Runs[len(r.Runs)-1] = one
	}
	set := r.Runs[0]
	set.Way, set.Total = StatefulSet, 2*set.Total
	r.Runs = append(r.Runs, set)
	return r
}

func TestCheck(t *testing.T) {
	findings := quick().Check()
	if err := Beyond(findings); err != nil {
		t.Errorf("a report at its floor: %v", err)
	}
	if got := strings.Count(Told(findings), "≤"); got != len(bounds()) {
		t.Errorf("%d of %d findings are told as good:\n%s", got, len(bounds()), Told(findings))
	}
	for _, b := range bounds() {
		if b.why == "" {
			t.Errorf("%s: no reason", b.what)
		}
	}
}

// TestBeyond: each bound fails a report that is beyond it, and names itself.
func TestBeyond(t *testing.T) {
	all := func(change func(*Run)) func(*Report) {
		return func(r *Report) {
			for i := range r.Runs {
				change(&r.Runs[i])
			}
		}
	}
	phase := func(p v1alpha1.MigrationPhase) func(*Report) {
		return all(func(r *Run) { r.Phases[p] = time.Hour })
	}
	spoilt := make(map[string]bool)
	for what, spoil := range map[string]func(*Report){
		"runs that failed": func(r *Report) {
			r.Runs = append(r.Runs, Run{Failed: "any", Judged: true, ChainEqual: true, SameProcess: true})
		},
		"messages lost, doubled or reordered":         func(r *Report) { r.Runs[2].Outputs.Doubled = 1 },
		"runs not judged, or whose memory is another": func(r *Report) { r.Runs[0].SameProcess = false },
		"pause at the checkpoint":                     all(func(r *Run) { r.PauseCheckpoint = time.Hour }),
		"pause at the hand-over":                      all(func(r *Run) { r.PauseHandover = time.Hour }),
		"Checkpointing":                               phase(v1alpha1.PhaseCheckpointing),
		"Transferring":                                phase(v1alpha1.PhaseTransferring),
		"Restoring":                                   phase(v1alpha1.PhaseRestoring),
		"Finalizing":                                  phase(v1alpha1.PhaseFinalizing),
		"total time":                                  all(func(r *Run) { r.Total = time.Hour }),
		"StatefulSet's total / bare pod's":            func(r *Report) { r.Runs[2].Total *= 100 },
		"bytes of the image / of CRIU's images":       all(func(r *Run) { r.Image *= 2 }),
	} {
		r := quick()
		spoil(&r)
		for _, f := range r.Check() {
			if named := strings.HasPrefix(f.What, what); named == f.OK() {
				t.Errorf("%s spoilt: %s is %.2f of %g", what, f.What, f.Value, f.Most)
			} else if named {
				spoilt[f.What] = true
			}
		}
		if err := Beyond(r.Check()); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s spoilt: %v", what, err)
		}
	}
	for _, f := range quick().Check() {
		if !spoilt[f.What] {
			t.Errorf("nothing goes beyond %q here", f.What)
		}
	}
}

// TestNotMeasured: a figure that is missing is no good one.
func TestNotMeasured(t *testing.T) {
	findings := Report{}.Check()
	err := Beyond(findings)
	if err == nil || strings.Count(err.Error(), "not measured") != len(findings) {
		t.Errorf("of nothing: %v", err)
	}
	if !strings.Contains(Told(findings), "not measured") || strings.Contains(Told(findings), "NaN") {
		t.Error(Told(findings))
	}
}
