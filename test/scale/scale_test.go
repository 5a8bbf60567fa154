package main

import (
	"bytes"
	"encoding/csv"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCountCalls(t *testing.T) {
	t.Parallel()
	whole := `{"verb":"get","objectRef":{"resource":"pods"}}
{"verb":"update","objectRef":{"resource":"statefulmigrations","subresource":"status"}}
{"verb":"watch","objectRef":{"resource":"pods"}}
{"verb":"get"}
`
	calls, read, err := countCalls(strings.NewReader(whole + `{"verb":"delete","objec`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"get pods": 1, "update statefulmigrations/status": 1, "get others": 1}
	if !maps.Equal(calls, want) || read != int64(len(whole)) {
		t.Errorf("%v in %d bytes, want %v in %d: half a line is none yet", calls, read, want, len(whole))
	}
	if _, _, err := countCalls(strings.NewReader("no JSON\n")); err == nil {
		t.Error("a line that is none is taken")
	}
}

func cases(calls ...int) report {
	var r report
	for i, n := range []int{10, 1000}[:len(calls)] {
		r.Cases = append(r.Cases, result{
			Series: "default", N: n, Took: time.Duration(n) * time.Second, Each: []time.Duration{time.Second}, Active: []time.Duration{time.Second},
			Calls: map[string]int{"get pods": calls[i] * n, "update leases": 1_000_000}, Peak: float64(n) * 2048,
		})
	}
	return r
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if err := cases(40, 59).check(1.5); err != nil {
		t.Error(err)
	}
	const want = "default: each of 1000 migrations takes 61.0 API calls, 1.52 times as many as each of 10; the bound is 1.50"
	if err := cases(40, 61).check(1.5); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestReport: every case is in it, and a report of one case, or none, is one all the same.
func TestReport(t *testing.T) {
	t.Parallel()
	for _, r := range []report{cases(40, 61), cases(40), {}} {
		var md, lines bytes.Buffer
		if err := r.markdown(&md); err != nil {
			t.Fatal(err)
		}
		if err := r.csv(&lines); err != nil {
			t.Fatal(err)
		}
		all, err := csv.NewReader(&lines).ReadAll()
		if err != nil || len(all) != len(r.Cases)+1 {
			t.Errorf("%d lines of %d cases, %v", len(all), len(r.Cases), err)
		}
		for _, p := range r.plots() {
			if err := p.WriteSVG(&md); err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(md.String(), "NaN") || strings.Contains(md.String(), "Inf") {
			t.Error(md.String())
		}
	}
	var md bytes.Buffer
	if err := cases(40, 61).markdown(&md); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| at once | 10 | 1000 |", "| get pods | 40.00 | 61.00 |", "| API calls each | 40.0 | 61.0 |", "grows by 2.0 KiB with each migration"} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("no %q in\n%s", want, md.String())
		}
	}
}

func TestDescendants(t *testing.T) {
	t.Parallel()
	stats := map[int]string{
		1: "1 (init) S 0 ", 7: "7 (scale) S 1 ", 8: "8 (lab) S 7 ", 9: "9 (a) (b c)) S 8 ", 10: "10 (other) S 1 ",
	}
	got, err := descendants(stats, 7)
	slices.Sort(got)
	if want := []string{stats[8], stats[9]}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := descendants(map[int]string{1: "nonsense"}, 1); err == nil {
		t.Error("a line that is none is taken")
	}
}
