package report

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/test/eval/measure"
)

// Plots are the reports' pictures by file name.
func (r Report) Plots() map[string]Plot {
	plots := make(map[string]Plot)
	for _, work := range r.works() {
		runs := of(r.part(Rates), func(r Run) bool { return r.Work == work })
		for what, value := range map[string]func(Run) time.Duration{
			"total": func(r Run) time.Duration { return r.Total },
			"gap":   func(r Run) time.Duration { return r.LongestGap },
		} {
			title := map[string]string{"total": "Total time", "gap": "Longest gap in the processing"}[what]
			p := Plot{Title: fmt.Sprintf("%s, %v a message", title, work), X: "messages per second", Y: "seconds, median"}
			for _, way := range ways(runs) {
				p.Lines = append(p.Lines, medians(string(way), of(runs, func(r Run) bool { return r.Way == way }), value))
			}
			if work == publishedWork && what == "total" {
				p.Lines = append(p.Lines, publishedLines(rates(runs))...)
			}
			plots[plotName(what, work)] = p
		}
	}
	r.partPlots(plots)
	return plots
}

func plotName(what string, work time.Duration) string { return fmt.Sprintf("%s-%v.svg", what, work) }

// medians is the line of a way.
func medians(name string, runs []Run, value func(Run) time.Duration) Line {
	l := Line{Name: name}
	for _, rate := range rates(runs) {
		if good := complete(of(runs, func(r Run) bool { return r.Rate == rate })); len(good) > 0 {
			l.Points = append(l.Points, Point{rate, measure.Median(each(good, value)).Seconds()})
		}
	}
	return l
}

func publishedLines(rates []float64) []Line {
	best, sequential := Line{Name: "published, best", Dashed: true}, Line{Name: "published, sequential", Dashed: true}
	for _, rate := range rates {
		if p, ok := published[rate]; ok {
			best.Points = append(best.Points, Point{rate, p.best})
			sequential.Points = append(sequential.Points, Point{rate, p.sequential})
		}
	}
	if best.Points == nil {
		return nil
	}
	return []Line{best, sequential}
}

// partPlots adds those of the other parts.
func (r Report) partPlots(plots map[string]Plot) {
	if pods := of(r.part(Memory), func(r Run) bool { return r.Way == Pod }); len(pods) > 0 {
		plots["memory.svg"], plots["memory-ratio.svg"] = r.memoryPlots(pods)
	}
	if fast := of(r.part(Fast), func(r Run) bool { return r.Way == Pod }); len(fast) > 0 {
		plots["fast.svg"] = Plot{Title: "A consumer without work", X: "messages per second", Y: "seconds, median", LogX: true, Lines: []Line{
			medians("total time", fast, func(r Run) time.Duration { return r.Total }),
			medians("longest gap", fast, func(r Run) time.Duration { return r.LongestGap }),
			medians("pause, checkpoint", fast, func(r Run) time.Duration { return r.PauseCheckpoint }),
			medians("pause, hand-over", fast, func(r Run) time.Duration { return r.PauseHandover }),
		}}
	}
	if scale := r.part(Scale); len(scale) > 0 {
		plots["scale.svg"] = scalePlot(scale)
	}
}

// memoryPlots are times and ratios to the floor by size.
func (r Report) memoryPlots(pods []Run) (times, ratios Plot) {
	times = Plot{Title: "Time by the size of the memory", X: "MiB of noise", Y: "seconds, median"}
	ratios = Plot{Title: "Ratio to the floor by the size of the memory", X: "MiB of noise", Y: "ratio of medians"}
	line := func(name string, value func(Run) time.Duration) Line {
		l := Line{Name: name}
		for _, size := range sizes(pods) {
			if good := complete(ofSize(pods, size)); len(good) > 0 {
				l.Points = append(l.Points, Point{float64(size), measure.Median(each(good, value)).Seconds()})
			}
		}
		return l
	}
	times.Lines = append(times.Lines, line("total time", func(r Run) time.Duration { return r.Total }))
	drawn := make(map[Piece]bool)
	for _, c := range comparisons() {
		if len(c.least) != 1 || !c.least[0].piece.sized() {
			continue
		}
		times.Lines = append(times.Lines, line(c.what, c.value))
		ratio := Line{Name: c.what}
		for _, size := range sizes(pods) {
			if f := r.compare(c, size); f.ok {
				ratio.Points = append(ratio.Points, Point{float64(size), f.ratio()})
			}
		}
		ratios.Lines = append(ratios.Lines, ratio)
	}
	for _, c := range comparisons() {
		piece := c.least[0].piece
		if !piece.sized() || drawn[piece] {
			continue
		}
		drawn[piece] = true
		floor := Line{Name: string(piece), Dashed: true}
		for _, size := range sizes(pods) {
			if took := r.Floor.of(piece, size); len(took) > 0 {
				floor.Points = append(floor.Points, Point{float64(size), measure.Median(took).Seconds()})
			}
		}
		times.Lines = append(times.Lines, floor)
	}
	return times, ratios
}

func scalePlot(runs []Run) Plot {
	typical, slowest, all, gap := Line{Name: "a migration, median"}, Line{Name: "a migration, slowest"}, Line{Name: "all of them"}, Line{Name: "longest gap of all", Dashed: true}
	for _, n := range services(runs) {
		good := complete(of(runs, func(r Run) bool { return r.Services == n }))
		if len(good) == 0 {
			continue
		}
		totals := each(good, Run.active)
		typical.Points = append(typical.Points, Point{float64(n), measure.Median(totals).Seconds()})
		slowest.Points = append(slowest.Points, Point{float64(n), measure.Quantile(totals, 1).Seconds()})
		all.Points = append(all.Points, Point{float64(n), measure.Median(spans(good)).Seconds()})
		gap.Points = append(gap.Points, Point{float64(n), measure.Quantile(each(good, func(r Run) time.Duration { return r.LongestGap }), 1).Seconds()})
	}
	return Plot{Title: "Services moved at once", X: "services", Y: "seconds", Lines: []Line{typical, slowest, all, gap}}
}
