package migration

import (
	"errors"
	"fmt"
)

// Error is why an action was not done: the reason that conditions and events
// carry, and whether doing it again can help.
type Error struct {
	Reason string
	Retry  bool
	Err    error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Passing wraps an error that may go away by itself.
func Passing(reason string, err error) *Error { return &Error{Reason: reason, Retry: true, Err: err} }

// Fatal wraps an error that no retry mends.
func Fatal(reason string, err error) *Error { return &Error{Reason: reason, Err: err} }

// errLostAnswer is what is known about a checkpoint that another process took.
var errLostAnswer = errors.New("the manager was restarted while the checkpoint was taken: its answer is lost")

// errNotPaused is what is known about an image whose copy woke in another state than Paused.
var errNotPaused = errors.New("the copy woke outside the safe point: the source's deadline had passed before it was frozen")

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// AsError makes any error an *Error; what has no reason yet is taken to pass.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Passing(ReasonUnavailable, err)
}

// Reasons of conditions and events. Those of checks in Pending name what is
// wrong, the others what happened; instances' own reasons (handover.Reason)
// are passed on as they are.
const (
	ReasonWaiting     = "Waiting"
	ReasonReady       = "Ready"
	ReasonDone        = "Done"
	ReasonUnavailable = "Unavailable"
	ReasonDeadline    = "DeadlineExceeded"
	ReasonCancelled   = "Cancelled"

	ReasonInvalidSpec       = "InvalidSpec"
	ReasonPolicy            = "PolicyForbids"
	ReasonPodNotFound       = "PodNotFound"
	ReasonPodNotRunning     = "PodNotRunning"
	ReasonPodUnsupported    = "PodUnsupported"
	ReasonContainerNotFound = "ContainerNotFound"
	ReasonNodeNotFound      = "NodeNotFound"
	ReasonNodeNotReady      = "NodeNotReady"
	ReasonNotInstalled      = "NotInstalled"
	ReasonOtherMigration    = "OtherMigration"
	ReasonBrokerUnavailable = "BrokerUnavailable"
	ReasonSecretUnavailable = "SecretUnavailable"
	ReasonQueueNotFound     = "QueueNotFound"
	ReasonNoLibrary         = "NoLibrary"
	ReasonLibraryMismatch   = "LibraryMismatch"
	ReasonNoIdentity        = "NoMessageIdentity"

	ReasonOwnerChanged = "OwnerChanged"
	ReasonRollout      = "RolloutInProgress"
	ReasonNodeMismatch = "NodeIncompatible"
	ReasonProbeBudget  = "ProbeBudget"
	ReasonDiskFull     = "NotEnoughDisk"
	ReasonForbidden    = "Forbidden"
	ReasonRepository   = "RepositoryUnavailable"
	ReasonPassed       = "Passed"
	ReasonNotChecked   = "NotChecked"
	ReasonDryRun       = "DryRun"

	ReasonPreparing        = "Preparing"
	ReasonCheckpointFailed = "CheckpointFailed"
	ReasonCheckpointVoid   = "CheckpointVoid"
	ReasonSourceLost       = "SourceLost"
	ReasonSourceRestarted  = "SourceRestarted"
	ReasonSourceMute       = "SourceMute"
	ReasonTransferFailed   = "TransferFailed"
	ReasonNotStaged        = "NotStaged"
	ReasonUnschedulable    = "Unschedulable"
	ReasonTargetNameTaken  = "TargetNameTaken"
	ReasonNotSteered       = "NotSteered"
	ReasonTakeover         = "Takeover"
	ReasonTargetRejected   = "TargetRejected"
	ReasonTargetLost       = "TargetLost"
	ReasonRestoreFailed    = "RestoreFailed"
	ReasonCaughtUp         = "CaughtUp"
	ReasonCutoff           = "ReplayCutoff"
	ReasonOutpaced         = "Outpaced"
	ReasonTooSlow          = "TooSlow"
	ReasonFrozen           = "SourceFrozen"
	ReasonCommitted        = "Committed"
	ReasonAborted          = "Aborted"
	ReasonAborting         = "Aborting"
	ReasonAbandoned        = "Abandoned"
	ReasonMarksLeft        = "MarksLeftStanding"
)
