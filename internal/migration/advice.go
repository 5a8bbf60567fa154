package migration

import (
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// Advice is what to do about a reason for which a migration waits or was given up; empty: the
// message says all there is.
func Advice(reason string) string { return advice[reason] }

// Every sentence names a thing to look at or a field to change.
var advice = map[string]string{
	ReasonPodNotFound:       "Check spec.sourcePod.name and the namespace.",
	ReasonPodNotRunning:     "Wait until the pod runs and is Ready, then create the StatefulMigration again.",
	ReasonPodUnsupported:    "See docs/fidelity.md for what a copy can keep of a pod.",
	ReasonContainerNotFound: "Set spec.container to one of the pod's containers.",
	ReasonNodeNotFound:      "Set spec.targetNode to a node that exists, or leave it out.",
	ReasonNodeNotReady:      "Choose another spec.targetNode, or see why the node is not Ready.",
	ReasonNotInstalled:      "See whether the node agent's pod on that node is Ready, and what its log says.",
	ReasonOtherMigration:    "It begins when the other one has ended, or was deleted.",
	ReasonBrokerUnavailable: "Check the broker, its URL and whether a NetworkPolicy lets the manager reach it.",
	ReasonSecretUnavailable: "Check spec.messageQueueConfig.brokerURLSecretRef and that the Secret has that key.",
	ReasonQueueNotFound:     "Check spec.messageQueueConfig.queueName and the virtual host in the broker's URL.",
	ReasonNoLibrary:         "The service has to consume with the MS2M library: see whether it is connected to this broker and consumes this queue.",
	ReasonLibraryMismatch:   "Build the service with a version of the library that speaks the manager's protocol.",
	ReasonNoIdentity:        "Have producers set message ids, or name the header that identifies a message in the library's configuration.",
	ReasonOwnerChanged:      "The workload was changed meanwhile: create the StatefulMigration again when its rollout is done.",
	ReasonRollout:           "Wait until the workload's rollout is done.",
	ReasonNodeMismatch:      "Choose a node of the same CPU family and kernel, or see docs/node.md.",
	ReasonProbeBudget:       "Give the liveness probe more failureThreshold or periodSeconds.",
	ReasonDiskFull:          "Free disk on the node, or choose another one.",
	ReasonForbidden:         "Grant the manager's ServiceAccount the permission: see the chart's RBAC.",
	ReasonRepository:        "Check spec.checkpointImageRepository and the credentials of manager and agents.",
	ReasonCheckpointFailed:  "See the kubelet's and containerd's log on the source's node; docs/node.md lists what CRIU cannot dump.",
	ReasonSourceMute:        "See whether the source's process is stuck in a handler or has lost the broker.",
	ReasonUnschedulable:     "Free resources on the target node, or choose another one.",
	ReasonTargetNameTaken:   "Delete the other pod, or move it first.",
	ReasonNotSteered:        "See whether the MutatingAdmissionPolicy ms2m-placement and its binding are installed, and the API servers' logs.",
	ReasonRestoreFailed:     "See the target pod's events, and CRIU's log on its node (docs/node.md).",
	ReasonTargetLost:        "See why the target pod went; then create the StatefulMigration again.",
	ReasonDeadline:          "The condition that is not True says what it waited for; a larger deadline in spec.deadlines gives it more time.",
	ReasonAbandoned:         "Remove by hand what the message names.",
	ReasonMarksLeft:         "Delete them at the broker when the source is known to be gone.",

	string(handover.ReasonDrainDeadline): "A handler runs longer than deadlines.checkpointSeconds allows: raise it, or make handlers shorter.",
	string(handover.ReasonOutcome):       "The service is not deterministic: take time, random numbers and other services through the library.",
	string(handover.ReasonDigest):        "The service is not deterministic: take time, random numbers and other services through the library.",
	string(handover.ReasonGap):           "The replay queue has lost an entry: see whether somebody purged it or consumed from it.",
	string(handover.ReasonRelayBroken):   "See why the broker does not take messages: its disk and memory alarms.",

	v1alpha1.TransferReasonUnauthorized: "Check the credentials for the repository that the agents have.",
	v1alpha1.TransferReasonNoSpace:      "Free disk on the node or in the registry.",
	v1alpha1.TransferReasonUnattended:   "See the node agent's log on the source's node.",
	v1alpha1.TransferReasonVolumeOpen:   "The process writes to a volume at its safe point: close files there, or use an emptyDir: see docs/node.md.",
}
