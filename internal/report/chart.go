package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// chart is values over the time of a replay.
type chart struct {
	Title, Desc string
	Lines       []line
	X, Y        []tick
}

// line is a polyline in a field of 1000 by 100, which is stretched to its place.
type line struct{ Name, Class, Points, Area string }

// charts draw the lag, and the rates.
func charts(series []v1alpha1.Sample) (lag, rates *chart, err error) {
	begin := series[0].At.Time
	whole := max(series[len(series)-1].At.Sub(begin).Seconds(), 0.001)
	var behind, arrival, replay []point
	for _, s := range series {
		x := min(max(s.At.Sub(begin).Seconds(), 0), whole)
		behind = append(behind, point{x, float64(max(s.LagMessages, 0))})
		for _, rate := range []struct {
			text string
			to   *[]point
		}{{s.ArrivalRate, &arrival}, {s.ReplayRate, &replay}} {
			if rate.text == "" {
				continue
			}
			y, err := strconv.ParseFloat(rate.text, 64)
			if err != nil || !(y >= 0) || math.IsInf(y, 0) {
				return nil, nil, fmt.Errorf("status.series: a rate is %q: it must be a decimal, and not negative", rate.text)
			}
			*rate.to = append(*rate.to, point{x, y})
		}
	}
	top := scale(behind)
	lag = &chart{
		Title: "Lag in messages", X: ticks(whole), Y: levels(top),
		Lines: []line{draw("lag", "lag", behind, whole, top)},
		Desc: fmt.Sprintf("The lag over %.1f seconds of replay: %d messages at first, %d at last.",
			whole, series[0].LagMessages, series[len(series)-1].LagMessages),
	}
	top = scale(arrival, replay)
	rates = &chart{Title: "Messages per second", X: lag.X, Y: levels(top), Desc: "The rates over the same time. "}
	for _, r := range []struct {
		name, class string
		points      []point
	}{{"arrived", "arrival", arrival}, {"replayed", "replay", replay}} {
		if len(r.points) == 0 {
			continue
		}
		l := draw(r.name, r.class, r.points, whole, top)
		l.Area = ""
		rates.Lines = append(rates.Lines, l)
		rates.Desc += fmt.Sprintf("%.4g per second %s at last. ", r.points[len(r.points)-1].y, r.name)
	}
	if len(rates.Lines) == 0 {
		rates = nil
	}
	return lag, rates, nil
}

type point struct{ x, y float64 }

// scale is a round number above all values.
func scale(lines ...[]point) float64 {
	top := 1.0
	for _, l := range lines {
		for _, p := range l {
			top = max(top, p.y)
		}
	}
	step := round(top / 4)
	n := 1.0
	for n*step < top {
		n++
	}
	return n * step
}

// levels are the marks of the vertical axis, from the top.
func levels(top float64) []tick {
	step := round(top / 4)
	var out []tick
	for y := 0.0; y <= top*1.0001; y += step {
		out = append(out, tick{At: percent(100 - 100*y/top), Text: fmt.Sprintf("%.6g", y)})
	}
	return out
}

// draw makes a polyline, and the area below it.
func draw(name, class string, points []point, whole, top float64) line {
	var b strings.Builder
	for _, p := range points {
		fmt.Fprintf(&b, "%.1f,%.2f ", 1000*p.x/whole, 100-100*p.y/top)
	}
	text := strings.TrimSpace(b.String())
	first, last := 1000*points[0].x/whole, 1000*points[len(points)-1].x/whole
	return line{Name: name, Class: class, Points: text, Area: fmt.Sprintf("%.1f,100 %s %.1f,100", first, text, last)}
}
