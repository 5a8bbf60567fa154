// Package conformance drives an implementation of the hand-over protocol
// through a broker and says what it gets wrong. It plays the manager, the
// producer, the other side of the migration, and the network.
package conformance

import (
	"fmt"
	"io"
	"strings"
)

// Clause is one thing that the protocol asks for.
type Clause struct {
	ID   string
	Text string
}

// Scenario plays a part of a migration with a fresh process, and checks its clauses.
type Scenario struct {
	Name    string
	Clauses []Clause
	play    func(*stage)
}

// Result is what became of a clause.
type Result struct {
	Clause
	Checked   bool
	Want, Got string // of the first check that failed; Want is empty if none did
}

// OK reports whether the clause was checked and held.
func (r Result) OK() bool { return r.Checked && r.Want == "" }

// Outcome is what became of a scenario.
type Outcome struct {
	Scenario string
	Results  []Result
	Ended    string // why it ended before its end
	Log      string // the file with what the implementation said
}

// OK reports whether all clauses held.
func (o Outcome) OK() bool {
	for _, r := range o.Results {
		if !r.OK() {
			return false
		}
	}
	return o.Ended == ""
}

// Print writes a line for each clause, and for those that do not hold what was
// expected and what was seen.
func (o Outcome) Print(w io.Writer) {
	for _, r := range o.Results {
		switch {
		case r.OK():
			fmt.Fprintf(w, "ok    %-24s %s\n", r.ID, r.Text)
		case r.Checked:
			fmt.Fprintf(w, "WRONG %-24s %s\n      expected: %s\n      got:      %s\n", r.ID, r.Text, indent(r.Want), indent(r.Got))
		default:
			fmt.Fprintf(w, "?     %-24s %s\n      not reached\n", r.ID, r.Text)
		}
	}
	if !o.OK() {
		ended := ""
		if o.Ended != "" {
			ended = ", ended: " + indent(o.Ended)
		}
		fmt.Fprintf(w, "      scenario %s%s; what the implementation said: %s\n", o.Scenario, ended, o.Log)
	}
}

func indent(s string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n                ")
}

// Undriven is a part of the protocol that is not driven, and why.
type Undriven struct{ What, Why string }

// NotDriven is what a pass does not speak for.
var NotDriven = []Undriven{
	{"the image of the memory", "the process is not checkpointed: it is made to find itself in another pod instead, as a restored one does"},
	{"a relay that stands still, and a number that never comes, for 30 s", "the time"},
	{"handlers of several keys at once", "a matter of the library's interface, not of the wire: order per key cannot be told from outside without knowing the keys"},
	{"TLS", "the proxy reads the frames"},
	{"that outputs of a message and its entry are one promise", "the window that docs/protocol.md names: an output can double if the connection is lost before the acknowledgement"},
}
