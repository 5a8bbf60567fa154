package handover

// Version is the version of the wire contract. An instance answers HELLO with
// the version it speaks; the manager refuses to migrate any other.
const Version = 1

// AMQP message types (the `type` property) of everything the protocol sends.
const (
	TypeCommand = "ms2m.command" // manager → instance, body: Command as JSON
	TypeReport  = "ms2m.report"  // instance → manager, body: Report as JSON
	TypeEntry   = "ms2m.entry"   // source → target through the replay queue, see Entry
	TypeHold    = "ms2m.hold"    // the record inside a hold queue, body: Hold as JSON
)

// EnvMigration is the environment variable by which a process that starts
// fresh in a target pod learns which migration that pod belongs to. A restored
// process never reads it: it keeps the environment of the source.
const EnvMigration = "MS2M_MIGRATION"

// ControlQueue is the queue on which the instance in the pod with this UID
// takes commands. It is exclusive to the instance's connection, so that a
// mandatory publish to it tells at once whether an instance is there.
func ControlQueue(podUID string) string { return "ms2m.control." + podUID }

// ReplayQueue is the default name of the replay queue of a migration (by UID).
func ReplayQueue(migration string) string { return "ms2m.replay." + migration }

// DecisionExchange is the durable exchange whose type is the decision of a
// migration: direct is COMMIT, fanout is ABORT. RabbitMQ refuses to declare an
// existing exchange with another type, so the first writer wins and everybody
// can read who won.
func DecisionExchange(migration string) string { return "ms2m.decision." + migration }

// HoldQueue is the durable queue that holds one Hold record for the key: the
// source pod's UID, a slot, or the migration's UID.
func HoldQueue(key string) string { return "ms2m.hold." + key }

// PodSlot is the hold key of a pod name that an owner may use again (the
// ordinal of a StatefulSet, or a standalone pod that somebody recreates).
func PodSlot(namespace, pod string) string { return "pod." + namespace + "." + pod }

// QueueSlot is the hold key of a queue with a sole consumer.
func QueueSlot(queue string) string { return "queue." + queue }

// State is the state of an instance; the names are those of docs/protocol.md.
type State string

// The states of an instance.
const (
	Live      State = "Live"      // owns its state, takes from the primary queue, does not relay
	Draining  State = "Draining"  // starts no handler, waits for those that run
	Paused    State = "Paused"    // at the safe point: nothing runs, everything is flushed
	Relaying  State = "Relaying"  // as Live, and writes the replay queue
	Finishing State = "Finishing" // begins no more, finishes what is begun, gives back the rest
	Frozen    State = "Frozen"    // END_REPLAY is written; waits for the decision
	Retired   State = "Retired"   // read COMMIT: its state lives elsewhere
	Restored  State = "Restored"  // a copy that woke Paused in another pod
	Replaying State = "Replaying" // a copy that applies the replay queue
	Void      State = "Void"      // a copy that must touch nothing
	Held      State = "Held"      // a process that started fresh under a hold
)

// CommandKind names a command of the manager.
type CommandKind string

// The commands.
const (
	Hello       CommandKind = "HELLO"        // tell who and where you are
	Prepare     CommandKind = "PREPARE"      // go to the safe point
	Resume      CommandKind = "RESUME"       // what is to be in the checkpoint is: go on, relaying
	StartReplay CommandKind = "START_REPLAY" // apply the replay queue
	Freeze      CommandKind = "FREEZE"       // finish and write END_REPLAY
	TakeOver    CommandKind = "TAKEOVER"     // the source is proven dead: write END_REPLAY in its place
	Abort       CommandKind = "ABORT"        // a hint: read the decision
	Retire      CommandKind = "RETIRE"       // a hint: read the decision
)

// Command is what the manager sends to the control queue of one instance. It
// is bound to migration, attempt, epoch and pod: an instance answers a
// repeated command again without acting, and refuses a stale or foreign one.
type Command struct {
	Version   int         `json:"version"`
	Kind      CommandKind `json:"kind"`
	Migration string      `json:"migration"` // UID of the StatefulMigration
	Attempt   int         `json:"attempt"`   // counts the checkpoints of this migration from 1
	Epoch     int64       `json:"epoch"`     // grows with every manager that takes the migration over
	PodUID    string      `json:"podUID"`    // the pod that the command is meant for

	// ReplayQueue is where the source relays to and the target replays from.
	// PREPARE and START_REPLAY carry it.
	ReplayQueue string `json:"replayQueue,omitempty"`
	// FencePodUID is for TAKEOVER: the source pod's UID, whose control queue the
	// target takes before it goes on, so that no process of that pod can; empty
	// if another process of the service has said HELLO in that pod already.
	FencePodUID string `json:"fencePodUID,omitempty"`
	// Sequential is for PREPARE: the target is made in the source's place, when
	// the source is gone. The source writes COMMIT itself, with END_REPLAY; a
	// copy of it goes on although COMMIT stands.
	Sequential bool `json:"sequential,omitempty"`
	// Predecessor is for PREPARE: the address (an IP) of the source's pod, to which a
	// copy may pass reads on until it owns the state; empty if it is not known.
	Predecessor string `json:"predecessor,omitempty"`
	// Successor is for FREEZE: the address (an IP) of the pod that is to take
	// over, to which the source may pass on reads once COMMIT stands; empty if it
	// is not known.
	Successor string `json:"successor,omitempty"`
	// DeadlineMillis bounds the state that the command leads to, in
	// milliseconds from its receipt: for PREPARE draining and pause together
	// (then the source goes on by itself), for FREEZE finishing (then it goes
	// on Relaying), for START_REPLAY the whole replay (then it writes ABORT). These
	// three are refused without it. For HELLO how long PaceMillis holds.
	DeadlineMillis int64 `json:"deadlineMillis,omitempty"`
	// LeaseMillis is how long an instance inside a migration goes without a
	// command from any manager before it gives up: it writes ABORT, or obeys
	// COMMIT if that stands. Every command renews it. A copy that waits in
	// Restored is bounded by it, too. PREPARE is refused without it.
	LeaseMillis int64 `json:"leaseMillis,omitempty"`
	// ReportMillis is the interval of unasked PROGRESS reports while the
	// instance relays or replays. Zero means none.
	ReportMillis int64 `json:"reportMillis,omitempty"`
	// PaceMillis is for HELLO to a source that relays: the least time from the
	// beginning of one message to that of the next, a second at most, for DeadlineMillis (without
	// which it is not taken) or until another command, which says it anew or ends
	// it. An instance that does not know it goes on as it does; see Status.PaceMillis.
	PaceMillis int64 `json:"paceMillis,omitempty"`
}

// ReportKind names a report of an instance. Every report carries the whole
// Status, so that a manager that missed some still knows where things stand.
type ReportKind string

// The reports.
const (
	ReportHello     ReportKind = "HELLO"     // answer to HELLO
	ReportPrepared  ReportKind = "PREPARED"  // at the safe point, position in Status.Number
	ReportRelaying  ReportKind = "RELAYING"  // goes on, relaying (RESUME, or its deadline)
	ReportReplaying ReportKind = "REPLAYING" // START_REPLAY taken
	ReportFrozen    ReportKind = "FROZEN"    // END_REPLAY confirmed by the broker
	ReportLive      ReportKind = "LIVE"      // this instance owns the state and takes from the primary
	ReportRetired   ReportKind = "RETIRED"   // read COMMIT as the source
	ReportVoid      ReportKind = "VOID"      // a copy that gave up, reason in Report.Reason
	ReportProgress  ReportKind = "PROGRESS"  // unasked, see Command.ReportMillis
	ReportRefused   ReportKind = "REFUSED"   // a command that was not taken, reason in Report.Reason
)

// Reason is a machine-readable cause in a Report.
type Reason string

// The reasons.
const (
	ReasonStale         Reason = "Stale"         // older epoch or attempt
	ReasonForeign       Reason = "Foreign"       // other migration or other pod
	ReasonWrongState    Reason = "WrongState"    // the command does not apply to the present state
	ReasonDrainDeadline Reason = "DrainDeadline" // handlers did not finish in time
	ReasonGap           Reason = "Gap"           // a number is missing in the replay queue
	ReasonOutcome       Reason = "Outcome"       // a handler's outcome differs from the source's
	ReasonDigest        Reason = "Digest"        // the state's digest differs from the source's
	ReasonNotPaused     Reason = "NotPaused"     // the copy woke in another state than Paused; FREEZE of a sequential source: its copy might
	ReasonDeadline      Reason = "Deadline"      // a deadline passed
	ReasonAborted       Reason = "Aborted"       // ABORT stands at the broker
	ReasonRelayBroken   Reason = "RelayBroken"   // the replay queue does not take entries
	ReasonVersion       Reason = "Version"       // another protocol version
	ReasonUnbounded     Reason = "Unbounded"     // a command without the deadline or lease that its state needs
)

// IdentityKind tells how an instance knows a message again.
type IdentityKind string

// The kinds of identity.
const (
	IdentityMessageID IdentityKind = "message-id" // the AMQP message-id property
	IdentityHeader    IdentityKind = "header"     // a header named in the configuration
	IdentityNone      IdentityKind = "none"       // none seen: only at-least-once can be promised
)

// Report is what an instance sends to the reply-to queue of the last command.
type Report struct {
	Version int         `json:"version"`
	Kind    ReportKind  `json:"kind"`
	Answers CommandKind `json:"answers,omitempty"` // the command answered, empty if unasked
	Reason  Reason      `json:"reason,omitempty"`
	Message string      `json:"message,omitempty"` // the reason in words
	Status  Status      `json:"status"`
}

// Status is where an instance stands. Durations come from its own monotonic
// clock.
type Status struct {
	PodUID      string       `json:"podUID"`      // the pod it finds itself in; empty if it cannot tell
	Incarnation string       `json:"incarnation"` // made at process start; a restored copy keeps its source's
	State       State        `json:"state"`
	Migration   string       `json:"migration,omitempty"`
	Attempt     int          `json:"attempt,omitempty"`
	Epoch       int64        `json:"epoch,omitempty"`
	Queue       string       `json:"queue"` // the primary queue; empty if there are several
	Queues      []string     `json:"queues,omitempty"`
	Prefetch    int          `json:"prefetch"`
	Identity    IdentityKind `json:"identity"`
	Decision    Decision     `json:"decision,omitempty"` // as last read at the broker
	// OwnerOnly says that whatever the service answers, it answers as the state's owner, or
	// passes on to it: a copy may be Ready before it is live.
	OwnerOnly bool `json:"ownerOnly,omitempty"`

	// Number is the number of the last message whose handling has finished
	// (source: written or to be written; target: applied).
	Number uint64 `json:"number"`
	// Confirmed is the number of the last entry confirmed by the broker.
	Confirmed uint64 `json:"confirmed,omitempty"`
	// Rate is the measured rate of handling, or of replaying (Replaying) per
	// second of the time in which there was something to apply, in messages per
	// second; zero while unknown.
	Rate float64 `json:"rate,omitempty"`
	// Capacity is the owner's rate of handling per second of the time in which a
	// handler ran, in messages per second: what a copy can replay at. Zero while unknown,
	// and for several handlers at once, of which fewer may have run than could.
	Capacity float64 `json:"capacity,omitempty"`
	// PauseMillis is how long the last checkpoint kept handlers from
	// starting: from PREPARE's receipt to RESUME's, freeze included.
	PauseMillis int64 `json:"pauseMillis,omitempty"`
	// PaceMillis is the pace that is kept; zero: none, see Command.PaceMillis.
	PaceMillis int64 `json:"paceMillis,omitempty"`
}

// Primaries are the queues that the instance consumes.
func (s Status) Primaries() []string {
	if len(s.Queues) > 0 {
		return s.Queues
	}
	return []string{s.Queue}
}

// Decision is what stands at the broker about a migration.
type Decision string

// The decisions.
const (
	Undecided Decision = ""
	Commit    Decision = "COMMIT"
	Aborted   Decision = "ABORT"
)

// Exchange types by which the decision is written in RabbitMQ.
const (
	CommitExchangeType = "direct"
	AbortExchangeType  = "fanout"
)

// Hold is the record that tells a process which starts under it to take
// nothing before the decision of the migration is known.
type Hold struct {
	Version   int    `json:"version"`
	Migration string `json:"migration"`
	SourcePod string `json:"sourcePodUID"`
	// DeadlineMillis is how long a process that starts under the hold waits for
	// a decision before it writes ABORT itself.
	DeadlineMillis int64 `json:"deadlineMillis"`
	// Sequential is as in PREPARE: COMMIT does not say that the target has the
	// state. A process that starts fresh in the target pod then waits until the
	// hold is gone: the state is still to be restored.
	Sequential bool `json:"sequential,omitempty"`
}
