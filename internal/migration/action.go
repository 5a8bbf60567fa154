package migration

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// Action is one effect on the outside world. Each has a name derived from the
// migration's UID, or is bound to a UID, so that doing it twice is doing it once.
type Action interface{ action() }

// Role tells source and target apart.
type Role string

// The roles.
const (
	RoleSource Role = "source"
	RoleTarget Role = "target"
)

type (
	// Send sends a command to the instance in a pod.
	Send struct {
		Role    Role
		Command handover.Command
	}
	// SetHolds writes the hold record under each key, and under the slot of each
	// queue named of which the source is the only consumer, or of all.
	SetHolds struct {
		Keys   []string
		Queues []string
		Always bool
		Hold   handover.Hold
	}
	// CreateReplayQueue declares the replay queue.
	CreateReplayQueue struct{ Queue string }
	// ReadDecision looks what stands at the broker.
	ReadDecision struct{}
	// WriteAbort writes ABORT, or learns that COMMIT stands.
	WriteAbort struct{}
	// Checkpoint calls the kubelet and does not wait for its answer: what
	// comes is in the facts, first as Calling, then as Checkpoint.
	Checkpoint struct {
		Node, Pod, Container string
		Attempt              int32
		Timeout              time.Duration
	}
	// CreateTransfer makes the object by which an agent does one leg.
	CreateTransfer struct {
		Name string
		Spec v1alpha1.CheckpointTransferSpec
	}
	// Withdraw has the agent let the container of a pod that goes give up waiting for
	// its checkpoint, which the deletion of the leg for it does: the leg is
	// made, if there is none yet, and deleted.
	Withdraw struct {
		Leg CreateTransfer
		Pod types.UID
	}
	// VerifyImage asks the repository for the checkpoint by its digest.
	VerifyImage struct{ Reference string }
	// CreateTarget makes the target pod.
	CreateTarget struct {
		Pod   *corev1.Pod
		Notes []string // what of the source's spec was left out, for people
	}
	// OpenGate lets Services send to the target.
	OpenGate struct {
		Name string
		UID  types.UID
	}
	// Expend has a ReplicaSet choose a pod first when it has one too many.
	Expend struct {
		Name string
		UID  types.UID
		Cost string // its pod-deletion-cost until now; empty: none
	}
	// Adopt makes the copy a pod of the source's ReplicaSet, which it is not to
	// choose when it has one too many.
	Adopt struct {
		Name   string
		UID    types.UID
		Labels map[string]string
		Owner  metav1.OwnerReference
		Cost   string // its pod-deletion-cost until now; empty: none
	}
	// SettleTarget takes from the target, or from a newcomer, what only the
	// migration needed.
	SettleTarget struct {
		Name string
		UID  types.UID
		Cost *string // its pod-deletion-cost from now on, empty for none; nil: as it is
	}
	// DeletePod deletes a pod of that UID and no other.
	DeletePod struct {
		Name  string
		UID   types.UID
		Grace *int64
	}
	// DeleteTransfers deletes every leg of the migration.
	DeleteTransfers struct{}
	// DeleteReplayQueues deletes replay queues.
	DeleteReplayQueues struct{ Queues []string }
	// DeleteImage deletes the checkpoint from the repository, by digest.
	DeleteImage struct{ Reference string }
	// RemoveMarks removes decisions and holds, the last traces.
	RemoveMarks struct{ Marks []Marks }
)

// Marks are those of one hop.
type Marks struct {
	Handover     string
	Keys         []string // of its holds
	KeepDecision bool
}

// Step is to have removed them.
func (m Marks) Step() Step {
	if m.KeepDecision {
		return Step("HoldsRemoved " + m.Handover)
	}
	return Step("MarksRemoved " + m.Handover)
}

func (Send) action()               {}
func (SetHolds) action()           {}
func (CreateReplayQueue) action()  {}
func (ReadDecision) action()       {}
func (WriteAbort) action()         {}
func (Checkpoint) action()         {}
func (CreateTransfer) action()     {}
func (Withdraw) action()           {}
func (VerifyImage) action()        {}
func (CreateTarget) action()       {}
func (OpenGate) action()           {}
func (Expend) action()             {}
func (Adopt) action()              {}
func (SettleTarget) action()       {}
func (DeletePod) action()          {}
func (DeleteTransfers) action()    {}
func (DeleteReplayQueues) action() {}
func (DeleteImage) action()        {}
func (RemoveMarks) action()        {}

// Ahead reports whether an action is done ahead of the write of the status that it was planned
// with, and not after it. A write takes longer than most actions, and nobody needs
// the record of one that asks, or that the next process does again without
// harm because what it is planned from is recorded, or stands at the broker, already.
func Ahead(a Action) bool {
	switch a := a.(type) {
	case VerifyImage, ReadDecision:
		return true
	case CreateTransfer:
		// A push would leave an image that no status knows the attempt of.
		return a.Spec.Direction == v1alpha1.TransferThaw || a.Spec.Direction == v1alpha1.TransferStage
	case Send:
		switch a.Command.Kind {
		case handover.Hello, handover.StartReplay, handover.Retire:
			return true
		}
	}
	return false
}

// Name names an action for people, and tells one that failed from others.
func Name(a Action) string {
	if s, ok := a.(Send); ok {
		return fmt.Sprintf("Send %s to the %s", s.Command.Kind, s.Role)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", a), "migration.")
}
