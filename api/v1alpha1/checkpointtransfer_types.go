package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TransferDirection is a leg of the way from node to node.
// +kubebuilder:validation:Enum=Thaw;Push;Fetch;Stage;Sweep
type TransferDirection string

// The legs.
const (
	// TransferThaw attends a checkpoint on the source's node: it says when
	// the container is frozen for CRIU (Frozen), lets it go on when CRIU has its
	// image, while containerd still packs it, and says whether the writable layer
	// stayed as it was until that was packed, too (Complete). It is complete at
	// once if the agent can't watch: then containerd lets the container go on.
	TransferThaw TransferDirection = "Thaw"
	// TransferPush packs an archive of the kubelet and pushes it to the repository.
	TransferPush TransferDirection = "Push"
	// TransferFetch pulls a checkpoint ahead of the pod that it is for: the Stage
	// of the same image on the same node then has nothing to pull.
	TransferFetch TransferDirection = "Fetch"
	// TransferStage pulls a checkpoint and lays it out for the shim.
	TransferStage TransferDirection = "Stage"
	// TransferSweep removes every archive of the pod's container from the
	// kubelet's checkpoint directory. The manager asks for it only when a
	// checkpoint was made whose archive it does not know (its answer was lost)
	// or does not want (the attempt was void).
	TransferSweep TransferDirection = "Sweep"
)

// CheckpointTransferSpec is one leg, for the agent of one node. It is internal
// to MS2M: the manager makes it, the agent of the node does it.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable"
// +kubebuilder:validation:XValidation:rule="self.direction != 'Push' || has(self.archive) && has(self.repository)",message="Push needs archive and repository"
// +kubebuilder:validation:XValidation:rule="self.direction != 'Fetch' || has(self.image)",message="Fetch needs image"
type CheckpointTransferSpec struct {
	// direction of this leg.
	// +required
	Direction TransferDirection `json:"direction"`
	// nodeName is the node whose agent does it.
	// +required
	// +kubebuilder:validation:MinLength=1
	NodeName string `json:"nodeName"`
	// migrationUID is the StatefulMigration that this leg belongs to.
	// +required
	MigrationUID types.UID `json:"migrationUID"`
	// attempt is the checkpoint that this leg is about.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// podName is the source of a Push, a Fetch or a Sweep, the target of a Stage. The
	// pod is in this object's namespace.
	// +required
	// +kubebuilder:validation:MaxLength=253
	PodName string `json:"podName"`
	// podUID is that pod's UID.
	// +required
	PodUID types.UID `json:"podUID"`
	// container of that pod.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Container string `json:"container"`
	// keepFrozen makes a Thaw leave it to containerd to let the container go on,
	// when everything is packed: for a container that writes to its file system.
	// +optional
	KeepFrozen bool `json:"keepFrozen,omitempty"`
	// refuseOpenVolumes makes a Thaw fail (VolumeOpen) if a process has a regular file
	// of a volume open for writing: if the source goes on with the volume and changes
	// the file's size, CRIU will not restore this checkpoint beside it.
	// +optional
	RefuseOpenVolumes bool `json:"refuseOpenVolumes,omitempty"`
	// archive is the file name (no directory) in the kubelet's checkpoint directory.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.contains('/') && self != '..'",message="archive is a file name, without a directory"
	Archive string `json:"archive,omitempty"`
	// repository to push to, without tag or digest.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	Repository string `json:"repository,omitempty"`
	// image to stage or fetch, by digest: repository@sha256:…
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.contains('@sha256:')",message="image must be addressed by digest"
	Image string `json:"image,omitempty"`
	// bytesPerSecond bounds what a Push, Fetch or Stage sends to the repository or
	// takes from it; absent: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
}

// Condition types of a CheckpointTransfer.
const (
	// TransferComplete is True when the leg is done, False with a reason when
	// it failed for good; while it is tried it is absent or Unknown.
	TransferComplete = "Complete"
	// TransferReady of a Thaw is True when the agent is watching: what happens
	// to the container from then on, it sees.
	TransferReady = "Ready"
	// TransferFrozen of a Thaw is True when the container is frozen and CRIU is at
	// work on it: what it is sent from then on it reads after the dump.
	TransferFrozen = "Frozen"
)

// Reasons of TransferComplete.
const (
	TransferReasonDone           = "Done"
	TransferReasonRetrying       = "Retrying"       // Unknown: a passing failure, tried again
	TransferReasonInvalidArchive = "InvalidArchive" // not an archive of this pod and container
	TransferReasonNotFound       = "NotFound"       // no such archive or image
	TransferReasonUnauthorized   = "Unauthorized"   // the registry refused the credentials
	TransferReasonNoSpace        = "NoSpace"        // disk or registry full
	TransferReasonFailed         = "Failed"         // anything else that a retry does not mend
	TransferReasonUnattended     = "Unattended"     // Thaw: the agent can't watch, and keeps its hands off
	TransferReasonChanged        = "Changed"        // Thaw: the writable layer is newer than the memory
	TransferReasonVolumeOpen     = "VolumeOpen"     // Thaw: a file of a volume is open for writing, see refuseOpenVolumes
	TransferReasonLost           = "Lost"           // Thaw: the agent was restarted and did not see the end
)

// CheckpointTimes are the parts of a checkpoint on the node, in milliseconds by
// the node's clock. They follow each other without a gap.
type CheckpointTimes struct {
	// beginMillis is from containerd's first step to CRIU's: finding container
	// and task, freezing the container, starting runc and CRIU.
	// +required
	BeginMillis int64 `json:"beginMillis"`
	// dumpMillis is from CRIU's first step to its last.
	// +required
	DumpMillis int64 `json:"dumpMillis"`
	// freezingMillis and frozenMillis are what CRIU says itself of how long it
	// took to stop the process and how long that stood; both lie within dumpMillis.
	// +required
	FreezingMillis int64 `json:"freezingMillis"`
	// +required
	FrozenMillis int64 `json:"frozenMillis"`
	// thawMillis is from CRIU's last step to the container going on.
	// +required
	ThawMillis int64 `json:"thawMillis"`
}

// CheckpointTransferStatus is what the agent has done.
type CheckpointTransferStatus struct {
	// times of the checkpoint that a Thaw attended.
	// +optional
	Times *CheckpointTimes `json:"times,omitempty"`
	// image is what was pushed, by digest.
	// +optional
	Image *CheckpointImage `json:"image,omitempty"`
	// freezeMillis is CRIU's own freeze of the process, from the archive's
	// stats-dump, in milliseconds.
	// +optional
	FreezeMillis *int64 `json:"freezeMillis,omitempty"`
	// durationMillis is how long the leg took by the agent's clock.
	// +optional
	DurationMillis *int64 `json:"durationMillis,omitempty"`
	// conditions: see TransferComplete.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CheckpointTransfer is one leg of a checkpoint's way between nodes. Its
// finalizer (FinalizerTransfer) lets the agent remove what it left on the
// node (archive, staged files) before the object goes.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cpt
// +kubebuilder:selectablefield:JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Direction",type=string,JSONPath=`.spec.direction`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Complete",type=string,JSONPath=`.status.conditions[?(@.type=="Complete")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type CheckpointTransfer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   CheckpointTransferSpec   `json:"spec"`
	Status CheckpointTransferStatus `json:"status,omitempty,omitzero"`
}

// CheckpointTransferList is a list of CheckpointTransfers.
// +kubebuilder:object:root=true
type CheckpointTransferList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CheckpointTransfer `json:"items"`
}
