// Package states is the state machine of an instance as a table, and describes
// it to graphviz: docs/states.svg is made of it by `make states`. Its test holds
// the table against the code that runs (sdk/handover), and the picture against the table.
package states

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"ms2m.dev/ms2m/sdk/handover"
)

// Transition is a change of state, from any of several.
type Transition struct {
	From []handover.State
	To   handover.State
	On   string
}

func from(s ...handover.State) []handover.State { return s }

// source are the states of a source that has begun to migrate.
var source = from(handover.Draining, handover.Paused, handover.Relaying, handover.Finishing, handover.Frozen)

// Transitions are all changes of state that there are.
var Transitions = []Transition{
	{from(handover.Held), handover.Live, "no hold (any more),\nor the decision lets it start"},
	{from(handover.Held), handover.Retired, "in the source's place:\nCOMMIT read"},
	{from(handover.Held), handover.Void, "in the target pod:\nABORT read"},

	{from(handover.Live), handover.Draining, "PREPARE"},
	{from(handover.Draining), handover.Paused, "safe point reached"},
	{from(handover.Draining), handover.Live, "deadline (first attempt)"},
	{from(handover.Draining), handover.Relaying, "deadline (later attempt)"},
	{from(handover.Paused), handover.Relaying, "RESUME, or deadline"},
	{from(handover.Relaying), handover.Draining, "PREPARE (next attempt)"},
	{from(handover.Relaying), handover.Finishing, "FREEZE"},
	{from(handover.Finishing), handover.Relaying, "deadline"},
	{from(handover.Finishing), handover.Frozen, "END_REPLAY confirmed\n(sequential: it writes COMMIT)"},
	{source, handover.Live, "ABORT read"},
	{source, handover.Retired, "COMMIT read"},

	{from(handover.Paused), handover.Restored, "finds itself in another pod"},
	{from(handover.Restored), handover.Replaying, "START_REPLAY"},
	{from(handover.Replaying), handover.Live, "END_REPLAY applied,\nCOMMIT won (sequential: stands)"},
	{from(handover.Restored, handover.Replaying), handover.Void, "ABORT read, or it gives up"},
	{from(handover.Live, handover.Draining, handover.Relaying, handover.Finishing, handover.Frozen,
		handover.Retired, handover.Restored, handover.Replaying, handover.Held), handover.Void, "finds itself in another pod"},
}

// group names a set of states that several transitions share, so that one
// arrow is drawn for them.
func group(states []handover.State) string {
	switch {
	case len(states) == 1:
		return string(states[0])
	case len(states) == len(source):
		return "source"
	case len(states) == 2:
		return "copy"
	}
	return "other"
}

// Dot describes the picture to graphviz.
func Dot() string {
	var b strings.Builder
	b.WriteString(`digraph states {
  compound=true; rankdir=TB; nodesep=0.55; ranksep=0.5;
  graph [fontname="Helvetica" fontsize=11];
  node [shape=box style="rounded,filled" fillcolor="#eef3fa" color="#334455" fontname="Helvetica" fontsize=12];
  edge [fontname="Helvetica" fontsize=10 color="#334455"];
  start [shape=point width=0.12]; start -> Held [label="a process starts"];
  other [label="any state but Paused" shape=plaintext style="" fontsize=10];
  subgraph cluster_source {
    label="a source in a migration"; style="rounded,dashed"; color="#888888";
    Draining; Paused; Relaying; Finishing; Frozen;
  }
  subgraph cluster_copy {
    label="a copy"; style="rounded,dashed"; color="#888888"; Restored; Replaying;
  }
  Live [fillcolor="#d8f0d8"]; there [label="Live" fillcolor="#d8f0d8"]; Retired [fillcolor="#eeeeee"]; Void [fillcolor="#eeeeee"]; Held [fillcolor="#fff6d8"];
`)
	for _, t := range Transitions {
		from, to, more := group(t.From), string(t.To), ""
		switch {
		case from == "source" && t.To == handover.Live: // arrows from the frame of the group
			from, more = "Draining", " style=bold ltail=cluster_source constraint=false"
		case from == "source":
			from, more = "Frozen", " style=bold ltail=cluster_source"
		case from == "copy":
			from, more = "Replaying", " style=bold ltail=cluster_copy"
		case from == "Replaying":
			to = "there"
		case from == "Draining" && t.To == handover.Live: // a way back: not to be laid out downwards
			more = " constraint=false"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=\"%s\"%s];\n", from, to, strings.ReplaceAll(t.On, "\n", `\n`), more)
	}
	b.WriteString("}\n")
	return b.String()
}

// Mark is the comment at the end of a picture that tells what it was made of,
// and that nobody has changed it since.
func Mark(picture string) string {
	return fmt.Sprintf("<!-- made by `make states`; table %x, picture %x -->\n",
		sha256.Sum256([]byte(Dot())), sha256.Sum256([]byte(picture)))
}
