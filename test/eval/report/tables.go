package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ms2m.dev/ms2m/test/eval/measure"
)

// unique are the values, each once, sorted.
func unique[T cmp.Ordered](values []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}

// of are the runs that keep says yes to.
func of(runs []Run, keep func(Run) bool) []Run {
	var kept []Run
	for _, r := range runs {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// complete are the runs that came to their end: what is measured of the others is in
// the CSV file, and would make no median.
func complete(runs []Run) []Run { return of(runs, func(r Run) bool { return r.Failed == "" }) }

func each[T any](runs []Run, value func(Run) T) []T {
	all := make([]T, len(runs))
	for i, r := range runs {
		all[i] = value(r)
	}
	return all
}

// spread is "median (least–greatest)" in seconds.
func spread(took []time.Duration) string {
	if len(took) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", measure.Median(took).Seconds(), slices.Min(took).Seconds(), slices.Max(took).Seconds())
}

// finely is spread in milliseconds.
func finely(took []time.Duration) string {
	if len(took) == 0 {
		return "–"
	}
	return fmt.Sprintf("%d (%d–%d)", measure.Median(took).Milliseconds(), slices.Min(took).Milliseconds(), slices.Max(took).Milliseconds())
}

// exact is the median in seconds, to the millisecond.
func exact(runs []Run, value func(Run) time.Duration) string {
	if len(runs) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f", measure.Median(each(runs, value)).Seconds())
}

// table is one of Markdown.
type table struct {
	head []string
	rows [][]string
}

func (t table) String() string {
	var s strings.Builder
	line := func(cells []string) { fmt.Fprintf(&s, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "---"
		if i > 0 {
			rule[i] = "---:"
		}
	}
	line(rule)
	for _, r := range t.rows {
		line(r)
	}
	return s.String()
}

// part are the runs of a part.
func (r Report) part(p Part) []Run { return of(r.Runs, func(r Run) bool { return r.Part == p }) }

// migrated are those that MS2M has moved.
func migrated(r Run) bool { return r.Way != Cold }

func (r Report) works() []time.Duration {
	return unique(each(r.part(Rates), func(r Run) time.Duration { return r.Work }))
}

func sizes(runs []Run) []int { return unique(each(runs, func(r Run) int { return r.Ballast })) }

func ofSize(runs []Run, mib int) []Run { return of(runs, func(r Run) bool { return r.Ballast == mib }) }

func services(runs []Run) []int { return unique(each(runs, func(r Run) int { return r.Services })) }

func rates(runs []Run) []float64 { return unique(each(runs, func(r Run) float64 { return r.Rate })) }

// ways are those that occur, in the order of the tables.
func ways(runs []Run) []Way {
	return slices.DeleteFunc(Ways(), func(w Way) bool {
		return !slices.ContainsFunc(runs, func(r Run) bool { return r.Way == w })
	})
}

// byRate is a table with a row for each rate and a column for each way.
func byRate(runs []Run, cell func([]Run) string) table {
	t := table{head: []string{"msg/s"}}
	for _, w := range ways(runs) {
		t.head = append(t.head, string(w))
	}
	for _, rate := range rates(runs) {
		row := []string{number(rate)}
		for _, w := range ways(runs) {
			row = append(row, cell(of(runs, func(r Run) bool { return r.Rate == rate && r.Way == w })))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// times is a cell of byRate with the spread of a time.
func times(value func(Run) time.Duration) func([]Run) string {
	return func(runs []Run) string {
		good := complete(runs)
		s := spread(each(good, value))
		if bad := len(runs) - len(good); bad > 0 {
			s += fmt.Sprintf(", %d failed", bad)
		}
		return s
	}
}

// totals is byRate of the total time, with what was published beside it.
func totals(runs []Run, work time.Duration) table {
	t := byRate(runs, times(func(r Run) time.Duration { return r.Total }))
	if work != publishedWork {
		return t
	}
	t.head = append(t.head, "*published, best*", "*published, sequential*")
	for i, rate := range rates(runs) {
		best, sequential := "–", "–"
		if p, ok := published[rate]; ok {
			best, sequential = fmt.Sprintf("*%.1f*", p.best), fmt.Sprintf("*%.1f*", p.sequential)
		}
		t.rows[i] = append(t.rows[i], best, sequential)
	}
	return t
}

// byWay is a table with a row for each way, of all rates together.
func byWay(runs []Run, head []string, cells func([]Run) []string) table {
	t := table{head: append([]string{"way"}, head...)}
	for _, w := range ways(runs) {
		t.rows = append(t.rows, append([]string{string(w)}, cells(of(runs, func(r Run) bool { return r.Way == w }))...))
	}
	return t
}

// sum adds up a number over runs.
func sum[T int | int64 | uint64](runs []Run, value func(Run) T) string {
	var total T
	for _, r := range runs {
		total += value(r)
	}
	return fmt.Sprint(total)
}
