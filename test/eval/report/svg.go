package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Point is one of a plot.
type Point struct{ X, Y float64 }

// Line is a series of points in the order of x.
type Line struct {
	Name   string
	Dashed bool
	Points []Point
}

// Plot is drawn with a logarithmic y axis: the ways differ by more than a factor of ten.
type Plot struct {
	Title, X, Y string
	LogX        bool // for what is more than some times as far as the first point
	Lines       []Line
}

const (
	plotWidth, plotHeight = 720, 400
	plotLeft, plotRight   = 64, 200 // the legend is on the right
	plotTop, plotBottom   = 36, 48
)

// colours can be told apart by those who see no red or green (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#777777"}

// WriteSVG draws the plot.
func (p Plot) WriteSVG(w io.Writer) error {
	x0, x1, y0, y1 := p.bounds()
	along := func(v float64) float64 { return v }
	if p.LogX && x0 > 0 {
		along = math.Log10
	}
	x := func(v float64) float64 {
		return plotLeft + (along(v)-along(x0))/(along(x1)-along(x0))*(plotWidth-plotLeft-plotRight)
	}
	y := func(v float64) float64 {
		return plotTop + (math.Log10(y1)-math.Log10(v))/(math.Log10(y1)-math.Log10(y0))*(plotHeight-plotTop-plotBottom)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&s, `<title>%s</title><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", html.EscapeString(p.Title))
	text := func(x, y float64, anchor, what string) {
		fmt.Fprintf(&s, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(what))
	}
	text(plotLeft, plotTop-16, "start", p.Title+" ("+p.Y+")")
	text((plotLeft+plotWidth-plotRight)/2, plotHeight-10, "middle", p.X)
	for e := math.Round(math.Log10(y0)); e <= math.Round(math.Log10(y1)); e++ {
		v := math.Pow(10, e) // of a whole number: 0.1 is not 0.10000000000000002
		fmt.Fprintf(&s, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", plotLeft, y(v), plotWidth-plotRight, y(v))
		text(plotLeft-6, y(v)+4, "end", number(v))
	}
	for _, v := range p.xs() {
		fmt.Fprintf(&s, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#999"/>`+"\n", x(v), plotHeight-plotBottom, x(v), plotHeight-plotBottom+4)
		text(x(v), plotHeight-plotBottom+18, "middle", number(v))
	}
	for i, l := range p.Lines {
		stroke, dash := colours[i%len(colours)], ""
		if l.Dashed {
			dash = ` stroke-dasharray="5 4"`
		}
		var points []string
		for _, at := range l.Points {
			if at.Y > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(at.X), y(at.Y)))
			}
		}
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(points, " "), stroke, dash)
		for _, at := range points {
			cx, cy, _ := strings.Cut(at, ",")
			fmt.Fprintf(&s, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", cx, cy, stroke)
		}
		legend := float64(plotTop + 18*i)
		fmt.Fprintf(&s, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s" stroke-width="2"%s/>`+"\n",
			plotWidth-plotRight+12, legend, plotWidth-plotRight+36, legend, stroke, dash)
		text(plotWidth-plotRight+42, legend+4, "start", l.Name)
	}
	s.WriteString("</svg>\n")
	_, err := io.WriteString(w, s.String())
	return err
}

// bounds are those of the axes: the y axis from a power of ten to another.
func (p Plot) bounds() (x0, x1, y0, y1 float64) {
	x0, x1, y0, y1 = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, l := range p.Lines {
		for _, at := range l.Points {
			x0, x1 = min(x0, at.X), max(x1, at.X)
			if at.Y > 0 {
				y0, y1 = min(y0, at.Y), max(y1, at.Y)
			}
		}
	}
	if math.IsInf(x0, 1) {
		x0, x1 = 0, 1
	}
	if math.IsInf(y0, 1) {
		y0, y1 = 1, 10
	}
	if x0 == x1 {
		x0, x1 = x0-1, x1+1
	}
	low, high := math.Floor(math.Log10(y0)), math.Ceil(math.Log10(y1))
	if low == high {
		high++
	}
	return x0, x1, math.Pow(10, low), math.Pow(10, high)
}

// xs are the places on the x axis that have a point.
func (p Plot) xs() []float64 {
	var all []float64
	for _, l := range p.Lines {
		for _, at := range l.Points {
			all = append(all, at.X)
		}
	}
	return unique(all)
}
