package handover

// Event is something that happened to an instance.
type Event interface{ event() }

// The events. Those that come over a connection are told only while that
// connection lasts: after Disconnected nothing of it is told any more.
type (
	// Connected tells that a new connection to the broker is there, which pod
	// the process found itself in after connecting, that the control queue of
	// that pod is this connection's, and what was read at the broker after that
	// (not before: see Fence): the decision of the migration under way
	// (Instance.Migration), or, for a process that has not begun yet, the hold
	// that it starts under.
	Connected struct {
		Pod      string
		Decision Decision
		Hold     *HoldView
	}
	// Disconnected tells that the connection is lost.
	Disconnected struct{}
	// Looked tells which pod the process finds itself in. It is told at the
	// start, before any other event while the instance is Paused, the only
	// state in which a good copy wakes, and before Disconnected, which is what
	// every copy meets first.
	Looked struct{ Pod string }
	// Delivered is a message from a primary queue. Tags are those of one channel,
	// whatever the queue.
	Delivered struct {
		Tag      uint64
		Queue    string // as in Item
		Identity string
		Key      string // messages of one key are handled in order, one at a time
		Payload  any    // the caller's, handed back in effects
	}
	// Handled tells that the handler of an item has returned.
	Handled struct {
		Item    *Item
		Outcome Outcome
	}
	// OutputsConfirmed tells that the broker has all outputs of the item.
	OutputsConfirmed struct{ Item *Item }
	// EntryConfirmed tells that the broker has the item's entry.
	EntryConfirmed struct{ Item *Item }
	// EntryReturned tells that the broker had no replay queue for an entry.
	EntryReturned struct{}
	// EndConfirmed tells that the broker has a migration's END_REPLAY.
	EndConfirmed struct{ Migration string }
	// Released tells that the broker has back what was not begun, and that no
	// delivery of the primary comes any more.
	Released struct{}
	// Entered is an entry of the replay queue, whole.
	Entered struct {
		Tag     uint64 // for Credit
		Header  EntryHeader
		Key     string // as in Delivered
		Payload any
	}
	// Fenced tells that no process of the pod of Fence can come back any more.
	Fenced struct{}
	// DecisionRead tells what stands at the broker.
	DecisionRead struct{ Decision Decision }
	// HoldRead tells what hold a process that has not begun finds; nil: none.
	HoldRead struct{ Hold *HoldView }
	// Commanded is a command of a manager.
	Commanded struct {
		Command       Command
		ReplyTo       string
		CorrelationID string
	}
	// Stopping tells that the process is to end: what runs is finished, nothing
	// more is begun.
	Stopping struct{}
	// Tick tells that time has passed: see Instance.Wake.
	Tick struct{}
)

// HoldView is a hold as a process that starts finds it.
type HoldView struct {
	Hold     Hold
	Target   bool // found by MS2M_MIGRATION: this is a target pod
	Sibling  bool // found by the queue slot: neither source nor target, as far as it can tell
	Decision Decision
}

// lasting reports whether COMMIT does not tell the process what to do: a
// sibling may be a surplus replacement of the source; and in the target pod of
// a sequential migration COMMIT stands before the state is there.
func (h *HoldView) lasting() bool { return h.Sibling || h.Target && h.Hold.Sequential }

func (Connected) event()        {}
func (Disconnected) event()     {}
func (Looked) event()           {}
func (Delivered) event()        {}
func (Handled) event()          {}
func (OutputsConfirmed) event() {}
func (EntryConfirmed) event()   {}
func (EntryReturned) event()    {}
func (EndConfirmed) event()     {}
func (Released) event()         {}
func (Entered) event()          {}
func (Fenced) event()           {}
func (DecisionRead) event()     {}
func (HoldRead) event()         {}
func (Commanded) event()        {}
func (Stopping) event()         {}
func (Tick) event()             {}

// Effect is something that is to be done, in the order given.
type Effect interface{ effect() }

// The effects.
type (
	// Consume begins to take from the primary queues, after the broker has taken
	// back, into all of them, what an earlier consumer of this state held. Ceded says that the source
	// has seen to that before it wrote END_REPLAY: nobody need be waited for.
	Consume struct{ Ceded bool }
	// Release ends it and gives back, in the order of each queue, what was received
	// and not begun, and what is still on its way; Released follows when all queues have it. Nothing is in hand.
	Release struct{}
	// ConsumeReplay begins to read the replay queue, from its beginning.
	ConsumeReplay struct{ Queue string }
	// Begin runs the handler on an item of the primary queue.
	Begin struct{ Item *Item }
	// Replay runs the handler on an entry, outputs suppressed, records read.
	Replay struct {
		Item    *Item
		Records []Record
	}
	// PublishOutputs publishes all outputs of the item that are not confirmed.
	PublishOutputs struct{ Item *Item }
	// PublishEntry appends the item to the replay queue.
	PublishEntry struct {
		Queue string
		Item  *Item
	}
	// PublishEnd appends END_REPLAY.
	PublishEnd struct {
		Migration string
		Queue     string
		Number    uint64
		Digest    []byte
		// Released says that the broker has taken the source's consumer off the
		// primary queue, see EntryHeader.Released.
		Released bool
		// Takeover marks the END_REPLAY of a takeover, see EntryHeader.Takeover.
		Takeover string
	}
	// Fence takes the control queue of a pod, as soon as the broker has dropped
	// the connection that holds it, and keeps it until Unfence or the connection's
	// end; Fenced follows. A process takes its control queue before it reads the
	// decision: what it reads, once it gets past this, is what was decided.
	Fence struct{ Pod string }
	// Unfence ends Fence.
	Unfence struct{}
	// Settle acknowledges, rejects or requeues a delivery.
	Settle struct {
		Tag     uint64
		Outcome Outcome
	}
	// WriteDecision tries to write a decision; DecisionRead tells which one stands.
	WriteDecision struct {
		Migration string
		Decision  Decision
	}
	// ReadDecision asks for it; DecisionRead follows.
	ReadDecision struct{ Migration string }
	// ReadHold looks for a hold again; HoldRead follows.
	ReadHold struct{}
	// Send sends a report.
	Send struct {
		To            string
		CorrelationID string
		Report        Report
	}
	// Credit tells the broker that all entries up to this one are taken, so that
	// it sends as many more. It removes nothing: the replay queue is a stream.
	Credit struct{ Tag uint64 }
	// StopReplay ends the reading of the replay queue.
	StopReplay struct{}
	// Drop closes the connection, so that the broker takes back what this
	// instance holds; Disconnected and a new Connected follow.
	Drop struct{}
)

func (Consume) effect()        {}
func (Release) effect()        {}
func (ConsumeReplay) effect()  {}
func (Begin) effect()          {}
func (Replay) effect()         {}
func (PublishOutputs) effect() {}
func (PublishEntry) effect()   {}
func (PublishEnd) effect()     {}
func (Fence) effect()          {}
func (Unfence) effect()        {}
func (Settle) effect()         {}
func (WriteDecision) effect()  {}
func (ReadDecision) effect()   {}
func (ReadHold) effect()       {}
func (Send) effect()           {}
func (Credit) effect()         {}
func (StopReplay) effect()     {}
func (Drop) effect()           {}
