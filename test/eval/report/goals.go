package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ms2m.dev/ms2m/test/eval/measure"
)

// The goals of the work on speed, on the lab with nothing else on its machine: a
// consumer of 10 ms, a checkpoint of about 30 MB. Unlike the bounds of bounds.go, most of
// them are seconds, so they say something of one machine only.
const (
	goalSlow, goalQuick = 60, 120 // messages per second, the upper ends of two ranges
	goalTotal           = 3 * time.Second
	goalBusyTotal       = 5 * time.Second
	goalHop             = time.Second // more, for each hand-over of a StatefulSet's pod
	goalHandover        = 50 * time.Millisecond
	goalHandoverRate    = 100
	goalBeyondFreeze    = 30 * time.Millisecond
	goalRatio           = 1.3
)

// goal is one of them beside what was measured, as text.
type goal struct {
	what, most, measured string
	met, known           bool
}

// goals are all of them.
func (r Report) goals() []goal {
	var all []goal
	runs := of(complete(r.part(Rates)), func(r Run) bool { return r.Work == publishedWork })
	add := func(what string, most time.Duration, runs []Run, value func(Run) time.Duration) {
		worst, at, known := time.Duration(0), 0.0, false
		for _, rate := range rates(runs) {
			m := measure.Median(each(of(runs, func(r Run) bool { return r.Rate == rate }), value))
			if !known || m > worst {
				worst, at, known = m, rate, true
			}
		}
		all = append(all, goal{what, fmt.Sprintf("%.2f s", most.Seconds()), fmt.Sprintf("%.3f s, at %s/s", worst.Seconds(), number(at)), worst <= most, known})
	}
	for _, w := range []Way{Pod, Deployment, StatefulSet} {
		for _, band := range []struct {
			from, to float64
			most     time.Duration
		}{{10, goalSlow, goalTotal}, {80, goalQuick, goalBusyTotal}} {
			most := band.most
			if w == StatefulSet {
				most += 2 * goalHop
			}
			add(fmt.Sprintf("%s: total at %g–%g/s", w, band.from, band.to), most,
				of(runs, func(r Run) bool { return r.Way == w && r.Rate >= band.from && r.Rate <= band.to }), func(r Run) time.Duration { return r.Total })
		}
	}
	pods := of(runs, func(r Run) bool { return r.Way == Pod })
	add(fmt.Sprintf("pause at the hand-over, at %d/s", goalHandoverRate), goalHandover,
		of(pods, func(r Run) bool { return r.Rate == goalHandoverRate }), func(r Run) time.Duration { return r.PauseHandover })
	add("pause at the checkpoint, less CRIU's own freeze", goalBeyondFreeze,
		of(pods, func(r Run) bool { return r.Freeze > 0 }), func(r Run) time.Duration { return r.PauseCheckpoint - r.Freeze })
	for _, c := range comparisons() {
		if len(c.least) == 1 && c.least[0].piece.sized() && !strings.HasPrefix(c.what, "pause") {
			f := r.compare(c, much)
			g := goal{what: fmt.Sprintf("%s / %s, %d MiB", c.what, c.floor(), much), most: fmt.Sprint(goalRatio), known: f.ok}
			if f.ok {
				g.measured, g.met = fmt.Sprintf("%.2f", f.ratio()), f.ratio() <= goalRatio
			}
			all = append(all, g)
		}
	}
	return all
}

// attained says which goals are met, of those that were measured.
func (r Report) attained(s *strings.Builder) {
	known := slices.DeleteFunc(r.goals(), func(g goal) bool { return !g.known })
	if len(known) == 0 {
		return
	}
	s.WriteString("\n## The goals\n\nMedians, of several rates the worst.\n\n")
	t := table{head: []string{"goal", "at most", "measured", "met"}}
	for _, g := range known {
		met := "yes"
		if !g.met {
			met = "**no**"
		}
		t.rows = append(t.rows, []string{g.what, g.most, g.measured, met})
	}
	s.WriteString(t.String())
}
