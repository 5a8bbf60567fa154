package handover

import (
	"slices"
	"time"
)

// Config is what an instance is told once.
type Config struct {
	Queue       string   // the primary queue
	Queues      []string // … or the primary queues, if there are several: Queue is empty then
	Prefetch    int      // messages in flight, of each queue, at least 1; never changes
	Remember    int      // finished messages of each queue that are known again, besides those in flight
	Concurrency int      // handlers at once, at least 1, each on a message of another key
	Incarnation string   // unique to this process start
	Identity    IdentityKind
	OwnerOnly   bool // see Status.OwnerOnly
	// Digest gives the digest of the service's state, or is nil. It is called
	// when no handler is running.
	Digest func() []byte
}

// pollInterval is how often an instance that waits for a decision of others
// looks at the broker: there is nothing there to be woken by.
const pollInterval = time.Second

// relayPatience is how long the relay may stand still: no entry confirmed on a
// connection, or entries returned on every one. A broker that restarts returns
// entries until the replay queue is up again.
const relayPatience = 30 * time.Second

// Item is a message in hand: begun, and not yet settled.
type Item struct {
	Number   uint64 // source: set when its handling has finished
	Queue    string // of those there are; empty if there is one
	Identity string
	Key      string
	Outcome  Outcome
	Records  []Record // side effects, set by the caller before Handled
	Payload  any      // the caller's

	tag    uint64 // delivery tag on the present connection, 0 if not delivered on it
	stage  stage
	expect Outcome // replay: the source's outcome
}

// stage is how far an item has come.
type stage int

const (
	running   stage = iota // its handler runs
	publishes              // its outputs are on their way
	ready                  // outputs confirmed: entry or settlement is next
	relayed                // its entry is on its way
	settled                // out of hand
)

type consumer int

const (
	idle consumer = iota
	consuming
	releasing
)

// Instance is the state machine of one process. It is not safe for concurrent use.
type Instance struct {
	cfg Config
	now time.Duration
	out []Effect

	state     State
	begun     bool   // past the holds
	stopping  bool   // begins nothing more
	pod       string // the pod this process found itself in
	connected bool

	// what is in hand
	primary  consumer
	buffer   []Delivered // received, not begun
	running  []*Item     // whose handlers run, one of a key
	items    []*Item     // handled and not settled, in order of number
	finished *memory
	nameless bool // a message without identity was seen

	number    uint64 // of the last message handled; replaying: begun, with all before it
	confirmed uint64 // of the last entry confirmed

	// the migration under way, or the last one
	m        membership
	want     Decision // to be written as soon as it can be
	writing  bool
	why      Reason // why want is ABORT, or why this copy is Void
	whyText  string
	decision Decision
	ended    []string // migrations that are over for this instance

	// the source's side
	drainedFrom State
	preparedAt  time.Duration
	pause       time.Duration
	endSent     bool          // END_REPLAY may be in the queue: only the decision leads back
	endOut      bool          // … and is on its way on this connection
	released    bool          // the primary was, on this connection
	stallAt     time.Duration // when an unconfirmed entry on this connection is one too long
	returned    bool          // an entry was, on this connection
	returnedAt  time.Duration // of the first entry returned since the last one confirmed

	// the target's side
	reading       bool
	entries       []Entered       // read and not begun, in order of number
	read          uint64          // number of the last entry read on this connection
	gapAt         time.Duration   // when a missing number has been missing for too long
	ahead         map[uint64]bool // begun, beyond number: keys overtake each other
	tag, credited uint64          // of the last entry read, and of the last given credit for
	take          takeover
	ceded         bool // END_REPLAY says Released

	pace     pace
	rate     rate          // of what the owner handles
	effort   effort        // of handling, and of applying
	deadline time.Duration // of the present state, 0: none
	pollAt   time.Duration
	heldFor  time.Duration // when a newcomer gives up waiting for a decision
	startAt  time.Duration // when one that reads COMMIT gives up waiting for the hold to go
}

// membership is what the commands of a migration said.
type membership struct {
	uid         string
	attempt     int
	epoch       int64
	queue       string // replay queue
	sequential  bool   // the source writes COMMIT; part of the image, so that its copies know
	vouched     bool   // this attempt's pause ended by RESUME: the image was taken in it
	predecessor string // the address of the source's pod; part of the image, so that its copies know
	successor   string // the address of the pod that is to take over
	replyTo     string
	lease       time.Duration
	leaseUntil  time.Duration
	reportEvery time.Duration
	reportAt    time.Duration
}

// New makes the instance of a process that has just started.
func New(cfg Config) *Instance {
	return &Instance{
		cfg:      cfg,
		state:    Held,
		finished: newMemory(max(cfg.Remember, 4*cfg.Prefetch+16)),
	}
}

// State is the present state.
func (in *Instance) State() State { return in.state }

// Pod is the pod this process last found itself in; empty if it cannot tell.
func (in *Instance) Pod() string { return in.pod }

// Owner reports whether this process owns the service's state: whether what it
// holds in memory is the present truth. A source gives that up when it
// publishes END_REPLAY, for the target may take over from that moment on. One
// that is cut off and taken over as dead cannot know, and says true until it is back.
func (in *Instance) Owner() bool {
	switch in.state {
	case Live, Draining, Paused, Relaying, Finishing:
		return !in.endSent
	}
	return false
}

// Home is the address of the pod in which the state lives while this one does not own
// it: the successor's after COMMIT, the source's for a copy before it. Empty if it is not
// known, or lies with whoever is frozen, or dead.
func (in *Instance) Home() string {
	switch in.state {
	case Retired:
		return in.m.successor
	case Restored, Replaying, Void:
		if !in.m.sequential && !in.take.asked {
			return in.m.predecessor
		}
	}
	return ""
}

// Begun reports whether the process is past the holds. Before that a
// connection must be told with the hold found.
func (in *Instance) Begun() bool { return in.begun }

// Migration is the UID of the migration under way, whose decision is to be
// read after connecting; empty if there is none.
func (in *Instance) Migration() string {
	if in.begun && !slices.Contains(in.ended, in.m.uid) {
		return in.m.uid
	}
	return ""
}

// Number is the number of the last message handled or applied.
func (in *Instance) Number() uint64 { return in.number }

// Step tells the instance an event and the time (monotonic, from any fixed
// point, not to jump when the process is restored) and returns what is to be
// done, in order.
func (in *Instance) Step(now time.Duration, ev Event) []Effect {
	in.now, in.out = now, nil
	switch ev := ev.(type) {
	case Connected:
		in.connect(ev)
	case Disconnected:
		in.disconnect()
	case Looked:
		in.look(ev.Pod)
	case Delivered:
		in.deliver(ev)
	case Handled:
		in.handled(ev)
	case OutputsConfirmed:
		in.outputsConfirmed(ev.Item)
	case EntryConfirmed:
		in.entryConfirmed(ev.Item)
	case EntryReturned:
		in.entryReturned()
	case EndConfirmed:
		in.endConfirmed(ev.Migration)
	case Released:
		in.primary, in.released = idle, true
	case Entered:
		in.enter(ev)
	case Fenced:
		in.take.fenced = true
	case DecisionRead:
		in.writing = false
		in.decided(ev.Decision)
	case HoldRead:
		in.hold(ev.Hold)
	case Commanded:
		in.command(ev)
	case Stopping:
		in.stopping = true
	case Tick:
	}
	in.expire()
	in.advance()
	return in.out
}

// Wake is when the instance wants a Tick at the latest.
func (in *Instance) Wake() (time.Duration, bool) {
	var at time.Duration
	for _, t := range []time.Duration{in.deadline, in.leaseEnd(), in.stallAt, in.gapAt, in.nextReport(), in.nextPoll(), in.nextBegin(), in.heldUntil()} {
		if t > 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at, at > 0
}

func (in *Instance) emit(e Effect) { in.out = append(in.out, e) }

// advance does whatever the present state asks for and nothing stands against.
func (in *Instance) advance() {
	in.beginNext()
	in.pump()
	in.reachSafePoint()
	in.reachEnd()
	in.takeThePlace()
	in.applyNext()
	in.follow()
	if in.connected && in.want != Undecided && !in.writing {
		in.writing = true
		in.emit(WriteDecision{Migration: in.m.uid, Decision: in.want})
	}
}

// follow opens and closes consumers as the state asks.
func (in *Instance) follow() {
	if !in.connected || !in.begun {
		return
	}
	switch in.state {
	case Live, Relaying:
		if in.primary == idle {
			in.primary, in.released = consuming, false
			in.emit(Consume{Ceded: in.ceded})
			in.ceded = false
		}
	case Replaying:
		// The replay queue may be gone: not finding it would end the connection
		// before a decision that is wanted could be written.
		if !in.reading && in.want == Undecided {
			in.reading, in.read = true, in.number
			in.emit(ConsumeReplay{Queue: in.m.queue})
		}
	}
}

func (in *Instance) connect(ev Connected) {
	in.connected = true
	in.look(ev.Pod)
	in.renewLease() // without a connection no manager can be heard
	switch {
	case !in.begun:
		in.hold(ev.Hold)
	case in.Migration() != "":
		in.decided(ev.Decision)
	}
	if in.state == Restored {
		// Unasked, to whoever led its source here: by asking, a manager would find
		// it at the next try only.
		in.report(ReportProgress, "")
	}
	for _, it := range in.items {
		if it.stage == publishes {
			in.emit(PublishOutputs{Item: it})
		}
	}
}

// disconnect forgets what was not begun: the broker has it back. What is in
// hand stays in hand and is published and settled again on the next connection.
func (in *Instance) disconnect() {
	in.connected, in.writing, in.endOut, in.reading = false, false, false, false
	in.primary, in.buffer, in.entries = idle, nil, nil
	in.tag, in.credited, in.returned, in.released = 0, 0, false, false
	if in.take.asked && in.want == Commit {
		// The fence is gone with the connection: whoever came past it meanwhile
		// may have written entries behind the end that was read. If COMMIT was
		// written nobody did; a sequential copy, which cannot know by whom it
		// was, comes to an end behind another fence.
		in.want = Undecided
	}
	in.stallAt, in.gapAt, in.take = 0, 0, takeover{asked: in.take.asked, pod: in.take.pod, count: in.take.count}
	for _, it := range in.running {
		it.tag = 0
	}
	for _, it := range in.items {
		it.tag = 0
		if it.stage == relayed {
			it.stage = ready
		}
	}
}

// look compares the pod that the process finds itself in with the one it knew.
func (in *Instance) look(pod string) {
	known := in.pod
	in.pod = pod
	if known == "" || known == pod {
		return
	}
	if in.state == Paused {
		in.wakeRestored()
		return
	}
	in.void(ReasonNotPaused, "the copy woke "+string(in.state)+": its image was not taken at the safe point")
}

// drop closes the connection if it holds anything of the broker's.
func (in *Instance) drop() {
	if in.connected && (in.primary != idle || in.reading) {
		in.emit(Drop{})
	}
}

// over notes that the migration has no more say over this instance.
func (in *Instance) over() {
	if in.m.uid != "" {
		in.end(in.m.uid)
	}
	in.want, in.deadline, in.m.leaseUntil, in.endSent, in.endOut = Undecided, 0, 0, false, false
	in.stallAt, in.gapAt, in.returnedAt = 0, 0, 0
}

// endedMemory is how many migrations that are over an instance remembers, to
// refuse their late commands.
const endedMemory = 64

func (in *Instance) end(migration string) {
	if slices.Contains(in.ended, migration) {
		return
	}
	in.ended = append(in.ended, migration)
	if len(in.ended) > endedMemory {
		in.ended = in.ended[1:]
	}
}

// InHand is how many messages are begun and not yet settled.
func (in *Instance) InHand() int { return len(in.running) + len(in.items) }

// Lineage is the name under which numbers were counted since the process began.
func (in *Instance) Lineage() string { return in.cfg.Incarnation }
