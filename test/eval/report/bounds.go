package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ms2m.dev/ms2m/test/eval/measure"
)

// The bounds of `make eval-check`: of ratios within one evaluation, for a machine's
// speed and load are in both terms, and of what must not be at all. They are about one
// and a half of the worst of two checks on two cores with load averages of 20 and 55, more
// than on an idle machine: the floors are of one process, a migration is of many, and
// each waits its turn. To tighten one, measure first: docs/eval.md says how.

// bound is the most that a figure may be.
type bound struct {
	what string
	most float64
	why  string
	// of is the figure, if it was measured.
	of func(Report) (float64, bool)
}

// checkedMiB are the sizes of the memory with bounds of their own.
const (
	little = 24
	much   = 256
)

func bounds() []bound {
	return []bound{
		{"runs that failed", 0, "a migration of a healthy service completes", func(r Report) (float64, bool) {
			return float64(len(r.Runs) - len(complete(r.Runs))), len(r.Runs) > 0
		}},
		{"messages lost, doubled or reordered", 0, "exactly once, in order: what MS2M is for", harmed},
		{"runs not judged, or whose memory is another", 0, "what is not judged is not shown to be right", func(r Report) (float64, bool) {
			return float64(len(of(r.Runs, func(r Run) bool { return !r.Judged || !r.ChainEqual || !r.SameProcess }))), len(r.Runs) > 0
		}},
		ratio("pause at the checkpoint", 0, little, 12, "draining, the call's way through kubelet and containerd and CRIU's start come to the dump"),
		ratio("pause at the checkpoint", 0, much, 5, "with much memory the dump is most of it"),
		ratio("Checkpointing", 0, little, 26, "the kubelet's archive, and the manager's writes"),
		ratio("Checkpointing", 0, much, 16, "the kubelet writes the images again, as an archive"),
		ratio("Transferring", 0, little, 45, "two agents are told, the image is pushed and pulled: its few bytes are the least of it"),
		ratio("Transferring", 0, much, 12, "hashed, pushed, pulled and staged: more than one copy"),
		ratio("Restoring", 1, little, 2.5, "the pod was made while the bytes came: it costs about what starting one does, which without a volume is not much"),
		ratio("Restoring", 1, much, 5, "the same, with more pages to read and to hash"),
		ratio("Finalizing", 0, little, 0.9, "a source whose processes have ended is taken away at once: less than a pod's usual end"),
		ratio("pause at the hand-over", 0, little, 70, "FREEZE, the last messages (10 ms each), COMMIT: some round trips and a write"),
		ratio("total time", 0, little, 2, "all of it, with what is replayed and what the manager waits for"),
		{"StatefulSet's total / bare pod's", 4, "two hand-overs of the same kind", func(r Report) (float64, bool) {
			total := func(w Way) time.Duration {
				return measure.Median(each(of(complete(r.part(Rates)), func(r Run) bool { return r.Way == w }), func(r Run) time.Duration { return r.Total }))
			}
			set, pod := total(StatefulSet), total(Pod)
			return set.Seconds() / pod.Seconds(), set > 0 && pod > 0
		}},
		{"bytes of the image / of CRIU's images", 1.05, "nothing is packed twice, and noise is not made larger", func(r Report) (float64, bool) {
			image, bytes := measure.Median(each(r.pods(much), func(r Run) int64 { return r.Image })), r.Floor.bytes(much)
			return float64(image) / float64(bytes), image > 0 && bytes > 0
		}},
	}
}

// ratio bounds a comparison of the report: the one of that name, of several the one of
// that number.
func ratio(what string, which, mib int, most float64, why string) bound {
	var named []comparison
	for _, c := range comparisons() {
		if c.what == what {
			named = append(named, c)
		}
	}
	c := named[which]
	return bound{fmt.Sprintf("%s / %s, %d MiB", what, c.floor(), mib), most, why, func(r Report) (float64, bool) {
		f := r.compare(c, mib)
		return f.ratio(), f.ok
	}}
}

// harmed is how many messages were lost, doubled or reordered, but for the outputs of
// the ways that put them out again by their nature.
func harmed(r Report) (float64, bool) {
	n := uint64(0)
	for _, run := range of(r.Runs, func(r Run) bool { return r.Judged && migrated(r) }) {
		t := run.State.Add(run.Outputs)
		n += t.Lost + t.Doubled + t.Reordered
	}
	return float64(n), slices.ContainsFunc(r.Runs, func(r Run) bool { return r.Judged })
}

// Finding is a figure beside its bound.
type Finding struct {
	What        string
	Value, Most float64
	Measured    bool
	Why         string
}

// OK reports whether the figure was measured and is within its bound.
func (f Finding) OK() bool { return f.Measured && f.Value <= f.Most }

// Check holds the report's figures against their bounds.
func (r Report) Check() []Finding {
	var all []Finding
	for _, b := range bounds() {
		f := Finding{What: b.what, Most: b.most, Why: b.why}
		if f.Value, f.Measured = b.of(r); !f.Measured {
			f.Value = 0
		}
		all = append(all, f)
	}
	return all
}

// Told are findings, one a line.
func Told(all []Finding) string {
	var s strings.Builder
	for _, f := range all {
		value, sign := fmt.Sprintf("%.2f", f.Value), "≤"
		if !f.Measured {
			value = "not measured"
		} else if !f.OK() {
			sign = ">"
		}
		fmt.Fprintf(&s, "%12s %s %-6g %s (%s)\n", value, sign, f.Most, f.What, f.Why)
	}
	return s.String()
}

// Beyond is an error that names what is beyond its bound.
func Beyond(all []Finding) error {
	var err error
	for _, f := range all {
		switch {
		case !f.Measured:
			err = errors.Join(err, fmt.Errorf("%s: not measured", f.What))
		case !f.OK():
			err = errors.Join(err, fmt.Errorf("%s is %.2f, at most %g is allowed: %s", f.What, f.Value, f.Most, f.Why))
		}
	}
	return err
}
