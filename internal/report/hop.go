package report

import (
	"cmp"
	"fmt"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// hopView is a hand-over.
type hopView struct {
	Heading string
	Result  string
	Facts   []Pair
	Rows    []bar
	Ticks   []tick
	Desc    string // of the timeline, for who cannot see it
	Lag     *chart
	Rates   *chart
	Parts   *parts
}

// bar is a line of the timeline. Places are in per cent of its whole.
type bar struct {
	Name, Took, Class string
	Pieces            []piece
}

type piece struct{ X, Width, Class string }

// tick is a mark of an axis.
type tick struct{ At, Text, Anchor string }

// thinnest is the least width of a piece, in per cent: what has happened is seen.
const thinnest = 0.4

func newHop(h *v1alpha1.Hop, several bool, now time.Time) (*hopView, error) {
	v := &hopView{Heading: "Timeline", Result: h.Result}
	if several {
		v.Heading = fmt.Sprintf("Hand-over %d", h.Hop)
	}
	v.Facts = hopFacts(h, several)
	if len(h.PhaseTimes) > 0 {
		v.timeline(h, now)
	}
	v.Parts = newParts(h.Pauses)
	if len(h.Series) > 1 {
		var err error
		if v.Lag, v.Rates, err = charts(h.Series); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func hopFacts(h *v1alpha1.Hop, several bool) []Pair {
	var out []Pair
	if several {
		out = append(out, Pair{"Pods", h.SourcePodName + " → " + cmp.Or(h.TargetPodName, "?")},
			Pair{"Nodes", cmp.Or(h.SourceNode, "?") + " → " + cmp.Or(h.TargetNode, "?")})
	}
	if h.Result != "" {
		out = append(out, Pair{"Result", h.Result})
	}
	if h.Attempts > 1 {
		out = append(out, Pair{"Checkpoints", fmt.Sprintf("%d attempts", h.Attempts)})
	}
	if p := h.Positions; p != nil {
		text := fmt.Sprintf("checkpoint at %d, source at %d, copy at %d", p.Checkpoint, p.Source, p.Target)
		if p.End > 0 {
			text += fmt.Sprintf(", end at %d", p.End)
		}
		out = append(out, Pair{"Messages", text})
	}
	if c := h.Cutoff; c != nil {
		text := fmt.Sprintf("%s: %s/s arrived, %s/s could be replayed, %d outstanding", c.Reason, cmp.Or(c.ArrivalRate, "?"), cmp.Or(c.ReplayRate, "?"), c.LagMessages)
		if c.ExpectedGapSeconds != "" {
			text += fmt.Sprintf("; a gap of %s s was expected, at most %d s wanted", c.ExpectedGapSeconds, c.LimitSeconds)
		}
		out = append(out, Pair{"Source frozen", text})
	}
	if t := h.Throttle; t != nil {
		out = append(out, Pair{"Source slowed", fmt.Sprintf("to a message in %d ms, %s in all", t.PaceMillis, took(time.Duration(t.TotalMillis)*time.Millisecond))})
	}
	return out
}

// timeline places the phases, and the pauses below them.
func (v *hopView) timeline(h *v1alpha1.Hop, now time.Time) {
	begin := h.PhaseTimes[0].StartedAt.Time
	end := now
	if !h.EndedAt.IsZero() {
		end = h.EndedAt.Time
	}
	whole := max(end.Sub(begin), time.Millisecond)
	place := func(from time.Time, d time.Duration, class string) piece {
		x := min(max(100*from.Sub(begin).Seconds()/whole.Seconds(), 0), 100-thinnest)
		width := min(max(100*d.Seconds()/whole.Seconds(), thinnest), 100-x)
		return piece{percent(x), percent(width), class}
	}
	for _, p := range h.PhaseTimes {
		from, d := p.StartedAt.Time, now.Sub(p.StartedAt.Time)
		b := bar{Name: string(p.Phase), Class: "phase"}
		switch {
		case p.Phase == v1alpha1.PhaseCompleted || p.Phase == v1alpha1.PhaseFailed:
			continue
		case p.DurationMillis != nil:
			d = time.Duration(*p.DurationMillis) * time.Millisecond
			b.Took = took(d)
		default:
			b.Took = took(d) + " so far"
		}
		b.Pieces = []piece{place(from, d, "phase")}
		v.Rows = append(v.Rows, b)
		v.Desc += fmt.Sprintf("%s %s from %s. ", p.Phase, b.Took, took(from.Sub(begin)))
	}
	if p := h.Pauses; p != nil {
		b := bar{Name: "Paused", Class: "pause"}
		var sum time.Duration
		add := func(phase v1alpha1.MigrationPhase, ms *int64) {
			for _, t := range h.PhaseTimes {
				if t.Phase == phase && ms != nil {
					d := time.Duration(*ms) * time.Millisecond
					sum += d
					b.Pieces = append(b.Pieces, place(t.StartedAt.Time, d, "pause"))
				}
			}
		}
		add(v1alpha1.PhaseCheckpointing, p.CheckpointMillis)
		add(v1alpha1.PhaseFinalizing, p.HandoverMillis)
		if b.Took = took(sum); sum > 0 {
			v.Rows = append(v.Rows, b)
			v.Desc += "Paused " + b.Took + " in all."
		}
	}
	v.Ticks = ticks(whole.Seconds())
}

// ticks are marks of a time axis at round numbers, at most six.
func ticks(seconds float64) []tick {
	whole, unit := seconds, "s"
	switch {
	case seconds > 2*3600:
		whole, unit = seconds/3600, "h"
	case seconds > 5*60:
		whole, unit = seconds/60, "min"
	}
	step := round(whole / 5)
	var out []tick
	for x := 0.0; x <= whole*1.0001; x += step {
		at := 100 * x / whole
		anchor := "middle"
		if x == 0 {
			anchor = "start"
		}
		if at > 95 {
			anchor = "end"
		}
		out = append(out, tick{percent(at), fmt.Sprintf("%.4g %s", x, unit), anchor})
	}
	return out
}

// round is the next number up that is 1, 2 or 5 with zeros.
func round(x float64) float64 {
	for step := 1e-3; ; step *= 10 {
		for _, f := range []float64{1, 2, 5} {
			if f*step >= x {
				return f * step
			}
		}
	}
}

func percent(x float64) string { return fmt.Sprintf("%.2f%%", x) }

// parts is what the pause at the checkpoint is made of.
type parts struct {
	Whole string
	Desc  string
	List  []part
}

type part struct {
	piece
	Name, Took, Note string
}

func newParts(p *v1alpha1.Pauses) *parts {
	if p == nil || p.Checkpoint == nil || p.CheckpointMillis == nil {
		return nil
	}
	c := p.Checkpoint
	out := &parts{Whole: millis(*p.CheckpointMillis)}
	type raw struct {
		name, note string
		ms         int64
	}
	var list []raw
	if c.DrainMillis != nil {
		list = append(list, raw{"drain", "handlers end, all is flushed", *c.DrainMillis})
	}
	if n := c.Node; n != nil {
		list = append(list,
			raw{"begin", "from the manager's call to CRIU's start", n.BeginMillis},
			raw{"freezing", "CRIU stops the process", n.FreezingMillis},
			raw{"frozen", "CRIU reads its memory", n.FrozenMillis},
			raw{"dump", "CRIU before and after", n.DumpMillis - n.FreezingMillis - n.FrozenMillis},
			raw{"thaw", "until the process may go on", n.ThawMillis})
	}
	if c.CallMillis != nil {
		list = append(list, raw{"call", "the way of the call, and finding RESUME", *c.CallMillis})
	}
	var sum int64
	for i := range list {
		list[i].ms = max(list[i].ms, 0)
		sum += list[i].ms
	}
	x := 0.0
	for i, r := range list {
		width := 100 * float64(r.ms) / float64(max(sum, 1))
		out.List = append(out.List, part{piece{percent(x), percent(width), fmt.Sprintf("part%d", i%7)}, r.name, millis(r.ms), r.note})
		out.Desc += fmt.Sprintf("%s %s. ", r.name, millis(r.ms))
		x += width
	}
	return out
}
