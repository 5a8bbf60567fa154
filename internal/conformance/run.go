package conformance

import (
	"context"
	"fmt"
	"io"
	"regexp"
)

// Run plays the scenarios whose names match, a few at once, writes what became
// of each in their order, and reports whether every clause held.
func Run(ctx context.Context, cfg Config, only *regexp.Regexp, parallel int, w io.Writer) bool {
	var chosen []Scenario
	for _, sc := range Scenarios {
		if sc.Name == digestScenario && cfg.NoDigest {
			continue
		}
		if only.MatchString(sc.Name) {
			chosen = append(chosen, sc)
		}
	}
	results := make([]chan Outcome, len(chosen))
	slots := make(chan struct{}, max(1, parallel))
	for i, sc := range chosen {
		results[i] = make(chan Outcome, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				results[i] <- Outcome{Scenario: sc.Name, Ended: ctx.Err().Error()}
				return
			}
			results[i] <- Play(ctx, cfg, sc)
		}()
	}
	ok, clauses, wrong := len(chosen) > 0, 0, 0
	for _, r := range results {
		out := <-r
		out.Print(w)
		ok = ok && out.OK()
		for _, c := range out.Results {
			clauses++
			if !c.OK() {
				wrong++
			}
		}
	}
	fmt.Fprintln(w, "\nnot driven:")
	for _, n := range NotDriven {
		fmt.Fprintf(w, "  %s: %s\n", n.What, n.Why)
	}
	if cfg.NoDigest {
		fmt.Fprintln(w, "  the digest: the service gives none")
	}
	fmt.Fprintf(w, "\n%d clauses, %d wrong\n", clauses, wrong)
	return ok
}
