package migration

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// Policy holds what is the same for all migrations of a manager.
type Policy struct {
	// Lease is how long an instance goes without a command before it gives up.
	Lease time.Duration
	// Blink is the longest rest of a replay that is worth freezing the source for at once.
	Blink time.Duration
	// Trend is the time over which a lag that clearly grows is believed to; one
	// that is unclear is watched for three of them. See Foresee.
	Trend time.Duration
	// CatchUp is the time within which a copy is left to catch up by itself: if it would take
	// longer, the source is slowed down. Pace is the longest that it then waits from
	// one message to the next, unless the service takes that long anyhow. See Forecast.Pace.
	CatchUp, Pace time.Duration
	// Report is the interval of progress reports before the replay, and Track during it.
	Report, Track time.Duration
	// Poll is the interval for looking at what sends no event, Knock that for
	// asking whether the copy has woken up, Resend the patience for the answer
	// to a command.
	Poll, Knock, Resend time.Duration
	// Attend is how long the agent of the source's node has to watch over a
	// checkpoint before the source is stopped without it, and to judge one
	// after the kubelet's answer.
	Attend time.Duration
	// Patience is how long an instance that ought to obey a decision, or an
	// agent that ought to tidy up, is waited for before the migration goes on without it.
	Patience time.Duration
	// Abandon bounds the rest of a migration that is deleted, decided or given
	// up, when its broker, its registry or a node does not come back.
	Abandon time.Duration
	// StatusEvery is the least time between two writes of mere progress.
	StatusEvery time.Duration
	// AttemptPause is the least time between the first two checkpoints (the
	// kubelet's archives are named by the second); it doubles with each that follows.
	AttemptPause time.Duration
	// ProbeBudget is how long a liveness probe has to put up with a process that
	// stands still.
	ProbeBudget time.Duration
	// HopPause is the time before a hop that failed is tried again: doubled each
	// time, up to HopPauseMax.
	HopPause, HopPauseMax time.Duration
}

// DefaultPolicy is the policy of a manager without flags.
func DefaultPolicy() Policy {
	return Policy{
		Lease:        60 * time.Second,
		Blink:        50 * time.Millisecond,
		Trend:        5 * time.Second,
		CatchUp:      500 * time.Millisecond,
		Pace:         40 * time.Millisecond,
		Report:       500 * time.Millisecond,
		Track:        50 * time.Millisecond,
		Poll:         time.Second,
		Knock:        200 * time.Millisecond,
		Resend:       3 * time.Second,
		Attend:       10 * time.Second,
		Patience:     60 * time.Second,
		Abandon:      10 * time.Minute,
		StatusEvery:  time.Second,
		AttemptPause: 1100 * time.Millisecond,
		ProbeBudget:  2 * time.Second,
		HopPause:     5 * time.Second,
		HopPauseMax:  5 * time.Minute,
	}
}

// Facts are what has been observed about one migration.
type Facts struct {
	Now    time.Time
	Policy Policy
	Object *v1alpha1.StatefulMigration // read only
	// MigrationPolicy is the pod's, gathered in Pending only; nil: it has none.
	MigrationPolicy *v1alpha1.MigrationPolicy // read only

	Source, Target Instance
	Preflight      *Preflight // gathered in Pending only, and not while it queues
	Turn           *Turn      // why it may not begin yet; nil: nothing is known against it

	// Owner is what the pod's owner wants now; nil for a standalone pod.
	Owner *owner.Workload
	// Newcomers are the pods that the ReplicaSet has made since the migration began,
	// without source and target.
	Newcomers []corev1.Pod
	// Hostname is the label kubernetes.io/hostname of the target's node; empty if
	// the node is not known yet.
	Hostname string

	// Thaw, Push and Fetch are the legs of the present attempt, Stage is that of the
	// present target, Sweep that of the clean-up; Transfers counts all legs of this
	// migration that exist.
	Thaw, Push, Fetch, Stage, Sweep *v1alpha1.CheckpointTransfer
	Transfers                       int

	Decision   Verdict
	Calling    bool              // this process waits for the kubelet's answer
	Checkpoint *CheckpointResult // of this process; nil: not answered, or not called by it
	Samples    []Sample          // of the last moments of the replay, the oldest first
	Failure    *Error            // of the last action, if no retry helps
	Blocked    Blocked           // the action that failed last
	LastWrite  time.Time         // of the status
	Done       map[Step]bool     // what this process has done already
}

// Blocked is an action that is not to be done again before a time.
type Blocked struct {
	Action string // its Name
	Until  time.Time
}

// Verdict is what is known about the decision at the broker.
type Verdict int

// The verdicts.
const (
	Unread Verdict = iota
	Undecided
	Committed
	Aborted
)

// Step is an effect that shows in nothing that is observed, so that the
// process remembers to have done it. After a restart it is done again.
type Step string

// The steps.
const (
	StepHolds            Step = "Holds"
	StepReplayQueue      Step = "ReplayQueue"
	StepTransfersDeleted Step = "TransfersDeleted"
	// StepUnswept is not to be able to have archives swept up.
	StepUnswept Step = "Unswept"
)

// StepWithdrawn is to have had a pod's container give up waiting for its checkpoint.
func StepWithdrawn(pod types.UID) Step { return Step("Withdrawn " + string(pod)) }

// StepReplayQueueGone is to have deleted a replay queue; each hop has its own.
func StepReplayQueueGone(queue string) Step { return Step("ReplayQueueGone " + queue) }

// StepImageVerified is to have found an image in the repository.
func StepImageVerified(reference string) Step { return Step("ImageVerified " + reference) }

// StepImageDeleted is to have deleted an image; each attempt has its own.
func StepImageDeleted(reference string) Step { return Step("ImageDeleted " + reference) }

// Instance is the source or the target: its pod and what the library in it said.
type Instance struct {
	Pod    *corev1.Pod      // the pod of that name now, whatever its UID; nil: none
	Report *handover.Report // the last one from the pod of the status' UID; nil: none
	Sent   map[handover.CommandKind]Sent
	// Heard is when the last report came, or when it could have come first: the
	// manager's connection to the broker was made later. Zero: not known.
	Heard time.Time
}

// silent reports whether nothing was heard of the instance for some time though
// the manager listened.
func (i Instance) silent(now time.Time, d time.Duration) bool {
	return !i.Heard.IsZero() && !now.Before(i.Heard.Add(d))
}

// Sent is the last command of its kind that this process sent to an instance.
type Sent struct {
	First, At  time.Time // of this attempt
	Attempt    int32
	PaceMillis int64            // that it said
	NoInstance bool             // the broker returned it: nobody listens there
	Answer     *handover.Report // nil: not yet
}

// State is the last known state of the instance, empty if unknown.
func (i Instance) State() handover.State {
	if i.Report == nil {
		return ""
	}
	return i.Report.Status.State
}

// lastSent is when the instance last heard from this process.
func (i Instance) lastSent() (at time.Time, noInstance bool) {
	for _, s := range i.Sent {
		if s.At.After(at) {
			at, noInstance = s.At, s.NoInstance
		}
	}
	return at, noInstance
}

// CheckpointResult is what the kubelet answered.
type CheckpointResult struct {
	Attempt int32
	Called  time.Time       // when the kubelet was
	At      time.Time       // of the answer
	Archive string          // file name on the source node
	Before  handover.Status // of the source when the kubelet was called
	After   handover.Status // of the source when the kubelet had answered
	Resumed bool            // RESUME was sent before the answer: After says nothing
	Err     *Error
}

// Preflight is what only the checks before a migration look at.
type Preflight struct {
	Rival        string        // a migration that has to end first
	Nodes        []corev1.Node // the source's, and those that spec.targetNode can mean
	RuntimeClass bool
	Agents       map[string]string // by node whose agent is ready: what it says of the node
	Claims       []Claim           // on volumes, that the pod has
	Forbidden    []string          // what the manager may not do, and has to
	Repository   error             // why nothing can be pushed
	Broker       error             // why the broker cannot be asked
	Queues       map[string]*Queue // the primary queues that there are
	ReplayQueue  *Queue            // a queue that has the replay queue's name already
}

// Queue is what the broker tells about a queue.
type Queue struct {
	Messages, Consumers int
}
