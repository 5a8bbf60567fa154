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

// Part is which of the questions a run answers.
type Part string

// The parts, in the order of the report.
const (
	Rates  Part = "rates"  // the published experiments: rates that a consumer can just do
	Memory Part = "memory" // sizes of the state
	Fast   Part = "fast"   // a consumer without work, up to what the broker takes
	Scale  Part = "scale"  // many services at once
)

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
	Part     Part
	Way      Way
	Rate     float64       // messages per second, of each service
	Work     time.Duration // that each message takes
	Ballast  int           // noise in the memory, in MiB
	Services int           // that are moved at once
}

// Run is one move of a service: a case of several services has as many. One that failed says why, and has what was measured all the same.
type Run struct {
	Case
	Number int // in the order in which they were made, from 1
	Round  int // the repetition, from 1
	Begun  time.Time
	Failed string

	Total  time.Duration
	Queued time.Duration                             // of Total: looked at, and waiting for others to end
	Phases map[v1alpha1.MigrationPhase]time.Duration // of all hand-overs together

	// What the broker took and what came out, per second, in the load before the move.
	SentRate, DoneRate float64

	LongestGap, Gaps        time.Duration
	Before, During, After   measure.Latency
	PauseCheckpoint         time.Duration // of all hand-overs together, by the source's clock
	Freeze                  time.Duration // CRIU's own, which is part of the pause: stopping the process, and how long it stood
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
	Active  int           // migrations that may be active at a time; 0: no limit
	Runs    []Run
	Fleets  []Fleet
	Floor   Floor
}

// Fleet is what many services at once have used of the machine, when all of them ran.
type Fleet struct {
	Round, Services, Ready int
	Starting               time.Duration
	Available              int64 // bytes of memory that the machine had left
	Watchers               int   // of inotify, of all processes
	Used                   map[string]measure.Usage
	Missing                string // why not all of them ran
}
