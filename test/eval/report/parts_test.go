package report

import (
	"strings"
	"testing"
	"time"
)

// TestLimit: up to which rate, and what was beyond; one bad run among good ones is none.
func TestLimit(t *testing.T) {
	at := func(rate, sent float64) Run { return Run{Case: Case{Rate: rate}, SentRate: sent} }
	for want, runs := range map[string][]Run{
		"took all that was due up to 200 a second; of 500 it took 300":              {at(500, 300), at(100, 99), at(200, 195), at(900, 300)},
		"took all that was due up to 200 a second, the highest rate that was tried": {at(100, 100), at(200, 191), at(200, 10), at(200, 200)},
		"took 50 of the 100 messages a second that were the least tried":            {at(100, 50)},
		"took nothing that was measured":                                            {at(100, 0)},
		"took all that was due up to 2 a second; of 3 it took 0":                    {at(2, 2), at(3, 0.3)},
	} {
		if got := limit(runs, Run.Taken, "took"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSpans: a round lasts from its first beginning to its last end.
func TestSpans(t *testing.T) {
	begun := time.Unix(1_000, 0)
	got := spans([]Run{
		{Round: 2, Begun: begun, Total: time.Second},
		{Round: 1, Begun: begun.Add(time.Second), Total: 5 * time.Second},
		{Round: 1, Begun: begun, Total: 3 * time.Second},
	})
	if len(got) != 2 || got[0] != 6*time.Second || got[1] != time.Second {
		t.Errorf("%v", got)
	}
}

// TestParts: what is not measured has no section, and what did not run is told.
func TestParts(t *testing.T) {
	text := func(r Report) string {
		var s strings.Builder
		if err := r.WriteMarkdown(&s); err != nil {
			t.Fatal(err)
		}
		return s.String()
	}
	all := text(sample())
	for _, want := range []string{
		"## Sizes of the memory", "## Up to the broker's limit", "## Many services at once", "## The floor", "## The goals", "## The goals",
		"50 services in round 2, of which 12 ran: too many; watchers", "The broker took all that was due up to 1000 a second; of 5000 it took 2100",
		"The service got done all that was due up to 100 a second; of 1000 it got done 600", "= **", "lets 10 be active", "| 2 | 2 of 2 | 0.25 (0.00–0.50) | 5.75 (5.00–6.50) | 6.50 | 7.05",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in the report", want)
		}
	}
	some := sample()
	some.Runs = some.part(Rates)
	for _, unwanted := range []string{"## Sizes", "## Up to", "## Many", "memory.svg", "fast.svg", "scale.svg"} {
		if strings.Contains(text(some), unwanted) {
			t.Errorf("%q is in a report without it", unwanted)
		}
	}
}
