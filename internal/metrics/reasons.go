package metrics

import (
	"slices"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// other stands for every reason that is not ours: instances are programs of others, and a label
// must not have as many values as they can think of.
const other = "Other"

func bounded(reason string) string {
	if reason == "" || slices.Contains(reasons, reason) {
		return reason
	}
	return other
}

// reasons are those of migrations, of legs and of instances.
var reasons = []string{
	migration.ReasonWaiting, migration.ReasonReady, migration.ReasonDone, migration.ReasonUnavailable, migration.ReasonDeadline, migration.ReasonCancelled,
	migration.ReasonInvalidSpec, migration.ReasonPodNotFound, migration.ReasonPodNotRunning, migration.ReasonPodUnsupported, migration.ReasonContainerNotFound,
	migration.ReasonNodeNotFound, migration.ReasonNodeNotReady, migration.ReasonNotInstalled, migration.ReasonOtherMigration, migration.ReasonBrokerUnavailable,
	migration.ReasonSecretUnavailable, migration.ReasonQueueNotFound, migration.ReasonNoLibrary, migration.ReasonLibraryMismatch, migration.ReasonNoIdentity,
	migration.ReasonOwnerChanged, migration.ReasonRollout, migration.ReasonNodeMismatch, migration.ReasonProbeBudget, migration.ReasonDiskFull,
	migration.ReasonForbidden, migration.ReasonRepository, migration.ReasonPassed, migration.ReasonNotChecked, migration.ReasonDryRun, migration.ReasonPolicy,
	migration.ReasonPreparing, migration.ReasonCheckpointFailed, migration.ReasonCheckpointVoid, migration.ReasonSourceLost, migration.ReasonSourceRestarted,
	migration.ReasonSourceMute, migration.ReasonTransferFailed, migration.ReasonNotStaged, migration.ReasonUnschedulable, migration.ReasonTargetNameTaken, migration.ReasonNotSteered, migration.ReasonTakeover,
	migration.ReasonTargetRejected, migration.ReasonTargetLost, migration.ReasonRestoreFailed, migration.ReasonCaughtUp, migration.ReasonCutoff,
	migration.ReasonOutpaced, migration.ReasonTooSlow, migration.ReasonFrozen, migration.ReasonCommitted, migration.ReasonAborted, migration.ReasonAborting,
	migration.ReasonAbandoned, migration.ReasonMarksLeft,

	v1alpha1.TransferReasonRetrying, v1alpha1.TransferReasonInvalidArchive, v1alpha1.TransferReasonNotFound, v1alpha1.TransferReasonUnauthorized,
	v1alpha1.TransferReasonNoSpace, v1alpha1.TransferReasonFailed, v1alpha1.TransferReasonUnattended, v1alpha1.TransferReasonChanged,
	v1alpha1.TransferReasonVolumeOpen, v1alpha1.TransferReasonLost,

	string(handover.ReasonStale), string(handover.ReasonForeign), string(handover.ReasonWrongState), string(handover.ReasonDrainDeadline),
	string(handover.ReasonGap), string(handover.ReasonOutcome), string(handover.ReasonDigest), string(handover.ReasonNotPaused),
	string(handover.ReasonDeadline), string(handover.ReasonRelayBroken), string(handover.ReasonVersion), string(handover.ReasonUnbounded),
}
