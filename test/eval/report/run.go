// Package report writes what an evaluation has measured: every run as CSV, tables as
// Markdown, plots as SVG. It is pure: the same runs give the same bytes.
package report

import (
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/eval/measure"
)

// Way is how the service gets to the other node.
type Way string

// The ways, in the order of the tables.
const (
	Cold        Way = "cold"
	StopAndCopy Way = "stop-and-copy"
	Pod         Way = "shadow-pod"
	Deployment  Way = "shadow-deployment"
	StatefulSet Way = "shadow-statefulset"
	Sequential  Way = "sequential-statefulset"
)

// Ways are all of them.
func Ways() []Way { return []Way{Cold, StopAndCopy, Pod, Deployment, StatefulSet, Sequential} }

// Phases are those of a migration that take time, in their order.
var Phases = []v1alpha1.MigrationPhase{
	v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring,
	v1alpha1.PhaseRestoring, v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing,
}

// Phases of the cold way.
const (
	ColdStop   v1alpha1.MigrationPhase = "Stop"
	ColdStart  v1alpha1.MigrationPhase = "Start"
	ColdRefill v1alpha1.MigrationPhase = "Refill"
)

// Programs are those whose use of the machine is told, by the name of the process.
var Programs = []string{"manager", "node-agent", "beam.smp"}

// Case is what is tried.
type Case struct {
	Way  Way
	Rate float64       // messages per second
	Work time.Duration // that each message takes
}

// Run is one try of a case. One that failed says why, and has what was measured all the same.
type Run struct {
	Case
	Number int // in the order in which they were made, from 1
	Round  int // the repetition, from 1
	Begun  time.Time
	Failed string

	Total  time.Duration
	Phases map[v1alpha1.MigrationPhase]time.Duration // of all hand-overs together

	LongestGap, Gaps        time.Duration
	Before, During, After   measure.Latency
	PauseCheckpoint         time.Duration // of all hand-overs together, by the source's clock
	PauseHandover           time.Duration // of all hand-overs together, by the manager's
	Reads, Refused, Stale   int
	SlowestRead             time.Duration
	ReadError               string // of the first that was refused
	Image, Archive          int64  // bytes, of all hand-overs together
	Handovers               int
	Judged                  bool
	Sent                    uint64
	State, Outputs          load.Tally
	Forgotten               uint64 // messages that were in a memory that went; a refill brings them back
	Used                    map[string]measure.Usage
	CutoffReason            string
	ChainEqual, SameProcess bool
}

// OK reports whether the run came to its end and nothing is wrong in the memory.
func (r Run) OK() bool { return r.Failed == "" && r.Judged && r.State.OK() && r.ChainEqual }

// Floor is what the parts of a hand-over take by themselves.
type Floor struct {
	Bytes               int64 // of CRIU's images
	Dump, Copy, Restore []time.Duration
	RoundTrip           []time.Duration // publish, confirm, deliver
	Missing             string          // why there is none, or not of every round
}

// Report is an evaluation.
type Report struct {
	Title   string
	Commit  string
	Machine []string // what it is, a line each
	Began   time.Time
	Seed    uint64
	Notes   []string
	Least   time.Duration // gaps that are longer are summed up
	Cutoff  int32         // spec.replayCutoffSeconds
	Runs    []Run
	Floor   Floor
}
