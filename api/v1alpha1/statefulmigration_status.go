package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// MigrationPhase summarises the conditions for people.
// +kubebuilder:validation:Enum=Pending;Checkpointing;Transferring;Restoring;Replaying;Finalizing;Completed;Failed
type MigrationPhase string

// The phases, in their order. Completed and Failed are terminal.
const (
	PhasePending       MigrationPhase = "Pending"
	PhaseCheckpointing MigrationPhase = "Checkpointing"
	PhaseTransferring  MigrationPhase = "Transferring"
	PhaseRestoring     MigrationPhase = "Restoring"
	PhaseReplaying     MigrationPhase = "Replaying"
	PhaseFinalizing    MigrationPhase = "Finalizing"
	PhaseCompleted     MigrationPhase = "Completed"
	PhaseFailed        MigrationPhase = "Failed"
)

// Condition types of a StatefulMigration.
const (
	ConditionReady        = "Ready"        // preflight: the pod can be migrated
	ConditionBuffered     = "Buffered"     // holds and replay queue: Unknown is the intent, True they stand
	ConditionCheckpointed = "Checkpointed" // a good image of the source exists
	ConditionTransferred  = "Transferred"  // the image is in the repository under its digest
	ConditionRestored     = "Restored"     // the copy answers on the target node
	ConditionCutOff       = "CutOff"       // the source is to be frozen, with the rule and its figures
	ConditionTakeover     = "Takeover"     // the source has ended; the copy goes on from image and replay queue
	ConditionReplayed     = "Replayed"     // the copy has applied everything up to END_REPLAY
	ConditionCommitted    = "Committed"    // COMMIT (True) or ABORT (False) stands at the broker
	ConditionServing      = "Serving"      // the target is Ready: Services send to it
	ConditionAdopted      = "Adopted"      // the copy belongs to the source's ReplicaSet
	ConditionReturned     = "Returned"     // the state is back in the StatefulSet's own pod; False: it lives in the shadow
	ConditionCleanedUp    = "CleanedUp"    // nothing of the migration is left behind; False: what is
	ConditionOverdue      = "Overdue"      // deadlines.totalSeconds has passed after the commit point: it goes on
	ConditionSucceeded    = "Succeeded"    // the end: True Completed, False Failed, with the reason
)

// StatefulMigrationStatus is what the manager has observed and intends.
type StatefulMigrationStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase summarises the conditions.
	// +optional
	Phase MigrationPhase `json:"phase,omitempty"`

	// epoch grows with every manager process that takes this migration over;
	// commands to the instances carry it.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`

	// policy is the MigrationPolicy that the migration is under; absent: none.
	// +optional
	Policy *PolicyReference `json:"policy,omitempty"`

	// settings are what holds for the migration, by its spec, its policy and what
	// is built in.
	// +optional
	Settings *Settings `json:"settings,omitempty"`

	// queued is there while the migration can begin and is not let in yet: see the
	// manager's limits.
	// +optional
	Queued *Queued `json:"queued,omitempty"`

	// startedAt is when it was let in, by the manager's clock. From then until its
	// end it counts for the manager's limits.
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`

	// endedAt is when it became Completed or Failed, by the manager's clock.
	// +optional
	EndedAt *metav1.MicroTime `json:"endedAt,omitempty"`

	// attempt counts the checkpoints, from 1.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// attemptEpoch is the epoch in which the attempt began. The manager that
	// began it is the only one that can know what the kubelet answered: an
	// attempt of an earlier epoch without a checkpointID is void.
	// +optional
	AttemptEpoch int64 `json:"attemptEpoch,omitempty"`

	// attemptStartedAt is when the attempt began, by the manager's clock.
	// +optional
	AttemptStartedAt *metav1.MicroTime `json:"attemptStartedAt,omitempty"`

	// preflight has an entry for each check: True it is passed, False what stands
	// against the migration, Unknown it could not be looked at yet.
	// +optional
	// +listType=map
	// +listMapKey=type
	Preflight []metav1.Condition `json:"preflight,omitempty"`

	// owner is the workload that the pod belongs to; absent for a standalone pod.
	// +optional
	Owner *WorkloadReference `json:"owner,omitempty"`

	// hop counts the hand-overs of this migration, from 1; the fields below are
	// about the present one.
	// +optional
	Hop int32 `json:"hop,omitempty"`

	// hops are the hand-overs that have ended.
	// +optional
	// +listType=map
	// +listMapKey=hop
	Hops []Hop `json:"hops,omitempty"`

	// placement is how the owner's next pod of a name is changed at admission.
	// +optional
	Placement *Placement `json:"placement,omitempty"`

	// sourcePodName is the source of the present hop: spec.sourcePod, and in the
	// second hop of a StatefulSet's pod the shadow.
	// +optional
	SourcePodName string `json:"sourcePodName,omitempty"`

	// sourcePodUID is the pod that is moved; a pod of the same name and another
	// UID is never touched.
	// +optional
	SourcePodUID types.UID `json:"sourcePodUID,omitempty"`

	// originNode is the node that the pod was on when the migration began.
	// +optional
	OriginNode string `json:"originNode,omitempty"`

	// sourceNode is the node of the present hop's source: originNode, and in the second
	// hop of a StatefulSet's pod the shadow's.
	// +optional
	SourceNode string `json:"sourceNode,omitempty"`

	// container is the container whose memory moves.
	// +optional
	Container string `json:"container,omitempty"`

	// strategy is the strategy that Auto was resolved to.
	// +optional
	Strategy Strategy `json:"strategy,omitempty"`

	// checkpointID is the file name of the checkpoint's archive on the source node.
	// +optional
	CheckpointID string `json:"checkpointID,omitempty"`

	// checkpointImage is the checkpoint in the repository.
	// +optional
	CheckpointImage *CheckpointImage `json:"checkpointImage,omitempty"`

	// targetPodName is the pod that takes over.
	// +optional
	TargetPodName string `json:"targetPodName,omitempty"`

	// targetPodUID is its UID.
	// +optional
	TargetPodUID types.UID `json:"targetPodUID,omitempty"`

	// targetNode is the node that the pod goes to.
	// +optional
	TargetNode string `json:"targetNode,omitempty"`

	// phaseTimes has an entry for each phase entered, in order.
	// +optional
	// +listType=map
	// +listMapKey=phase
	PhaseTimes []PhaseTime `json:"phaseTimes,omitempty"`

	// positions of source and target in the numbered messages.
	// +optional
	Positions *Positions `json:"positions,omitempty"`

	// lag of the target behind the source.
	// +optional
	Lag *Lag `json:"lag,omitempty"`

	// series is the course of the present hop's replay: thinned out evenly when it is long.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Series []Sample `json:"series,omitempty"`

	// frozenAt is when the source was first told to freeze, by the manager's clock.
	// +optional
	FrozenAt *metav1.MicroTime `json:"frozenAt,omitempty"`

	// cutoff is the forecast of the replay, and at its end the figures by which
	// the source was frozen.
	// +optional
	Cutoff *Cutoff `json:"cutoff,omitempty"`

	// throttle is how the source was slowed down so that the lag closes; absent: it was not.
	// +optional
	Throttle *Throttle `json:"throttle,omitempty"`

	// pauses of the processing that the migration caused.
	// +optional
	Pauses *Pauses `json:"pauses,omitempty"`

	// conditions tell the story; see the Condition constants.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Queued is why a migration that can begin is not let in yet.
type Queued struct {
	// since is when it came, by the manager's clock.
	Since metav1.MicroTime `json:"since"`
	// ahead is how many of those that wait come first. It is looked at again when
	// it has halved, so it may be up to twice of what it is.
	Ahead int32 `json:"ahead"`
	// reason is MaxMigrations, MaxMigrationsPerNode, OtherMigration or Turn.
	Reason string `json:"reason"`
	// message says it in words.
	// +optional
	Message string `json:"message,omitempty"`
}

// WorkloadReference is the controller of a pod.
type WorkloadReference struct {
	// apiVersion of the workload.
	APIVersion string `json:"apiVersion"`
	// kind: StatefulSet or ReplicaSet.
	Kind string `json:"kind"`
	// name of the workload.
	Name string `json:"name"`
	// uid of the workload.
	UID types.UID `json:"uid"`
	// revision of the workload that the pod is of: its label pod-template-hash or
	// controller-revision-hash.
	// +optional
	Revision string `json:"revision,omitempty"`
}

// Hop is a hand-over that has ended.
type Hop struct {
	// hop is its number.
	Hop int32 `json:"hop"`
	// result is Committed, or the reason for which it was given up.
	Result string `json:"result"`
	// sourcePodName and targetPodName are the pods between which the state was
	// to move.
	SourcePodName string `json:"sourcePodName"`
	// sourcePodUID is the UID of the first, which names its hold.
	SourcePodUID types.UID `json:"sourcePodUID"`
	// +optional
	TargetPodName string `json:"targetPodName,omitempty"`
	// sourceNode and targetNode are their nodes.
	// +optional
	SourceNode string `json:"sourceNode,omitempty"`
	// +optional
	TargetNode string `json:"targetNode,omitempty"`
	// endedAt by the manager's clock.
	EndedAt metav1.MicroTime `json:"endedAt"`
	// attempts is how many checkpoints it took.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// checkpointImage is the image that the target was restored from.
	// +optional
	CheckpointImage *CheckpointImage `json:"checkpointImage,omitempty"`
	// positions at its end.
	// +optional
	Positions *Positions `json:"positions,omitempty"`
	// series is the course of its replay.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Series []Sample `json:"series,omitempty"`
	// cutoff is why the source was frozen when it was.
	// +optional
	Cutoff *Cutoff `json:"cutoff,omitempty"`
	// throttle is how its source was slowed down.
	// +optional
	Throttle *Throttle `json:"throttle,omitempty"`
	// pauses that it caused.
	// +optional
	Pauses *Pauses `json:"pauses,omitempty"`
	// phaseTimes of its phases.
	// +optional
	// +listType=map
	// +listMapKey=phase
	PhaseTimes []PhaseTime `json:"phaseTimes,omitempty"`
}

// Placement is how the next pod of a name that an owner makes is changed at
// admission, so that the state can move into it. The
// MutatingAdmissionPolicy ms2m-placement does it, and reads nothing else.
type Placement struct {
	// podName is the pod's name.
	PodName string `json:"podName"`
	// ownerUID is the UID of the workload that makes it: no other pod is changed.
	OwnerUID types.UID `json:"ownerUID"`
	// container is the one that is restored.
	Container string `json:"container"`
	// handover is the identity of the hop.
	Handover string `json:"handover"`
	// ownerOnly says that the pod needs no readiness gate: until it owns the state it
	// passes on what it is asked.
	// +optional
	OwnerOnly bool `json:"ownerOnly,omitempty"`
	// hostname is the value of the label kubernetes.io/hostname of the node; empty
	// if the scheduler is to choose, because the pod found no room there.
	// +optional
	Hostname string `json:"hostname,omitempty"`
}

// CheckpointImage is the checkpoint as OCI artefact.
type CheckpointImage struct {
	// reference is repository@digest.
	Reference string `json:"reference"`
	// digest of the manifest.
	Digest string `json:"digest"`
	// sizeBytes is the size of the image in the repository, in bytes.
	SizeBytes int64 `json:"sizeBytes"`
	// archiveBytes is the size of the checkpoint archive, in bytes.
	// +optional
	ArchiveBytes int64 `json:"archiveBytes,omitempty"`
}

// PhaseTime is when a phase began and how long it took.
type PhaseTime struct {
	Phase MigrationPhase `json:"phase"`
	// startedAt by the manager's clock.
	StartedAt metav1.MicroTime `json:"startedAt"`
	// durationMillis is set when the phase has ended, in milliseconds.
	// +optional
	DurationMillis *int64 `json:"durationMillis,omitempty"`
}

// Pauses are the times without processing, in milliseconds.
type Pauses struct {
	// checkpointMillis is from PREPARE to the source going on, by the source's clock.
	// +optional
	CheckpointMillis *int64 `json:"checkpointMillis,omitempty"`
	// checkpoint is what checkpointMillis is made of.
	// +optional
	Checkpoint *CheckpointPause `json:"checkpoint,omitempty"`
	// handoverMillis is from sending FREEZE to learning that the target is
	// live, by the manager's clock: an upper bound of the true pause.
	// +optional
	HandoverMillis *int64 `json:"handoverMillis,omitempty"`
}

// CheckpointPause are the parts of the pause at the checkpoint, in milliseconds.
type CheckpointPause struct {
	// drainMillis is from sending PREPARE to hearing PREPARED, by the manager's
	// clock: handlers that end, what is in flight, and the broker twice.
	// +optional
	DrainMillis *int64 `json:"drainMillis,omitempty"`
	// callMillis is the rest of the pause: the way of the call from the manager
	// to containerd, and what the source needs to find RESUME after the thaw.
	// +optional
	CallMillis *int64 `json:"callMillis,omitempty"`
	// node is the part on the source's node, by its clock: absent if the agent
	// there could not watch.
	// +optional
	Node *CheckpointTimes `json:"node,omitempty"`
}
