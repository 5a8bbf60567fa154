// Package fault is the error type of the node's side: an error that knows which
// reason of a CheckpointTransfer's condition it is and whether trying again helps.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Error is a failure with the reason that a condition is to carry.
type Error struct {
	// Reason is one of the TransferReason constants of the API.
	Reason string
	// Passing is set when the same step may succeed if it is tried again.
	Passing bool
	// Err is what happened. Its text holds no secret.
	Err error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap lets errors.Is and errors.As see the cause.
func (e *Error) Unwrap() error { return e.Err }

// Final is a failure that a retry does not mend.
func Final(reason, format string, args ...any) error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Passing is a failure that a retry may mend.
func Passing(format string, args ...any) error {
	return &Error{Reason: v1alpha1.TransferReasonRetrying, Passing: true, Err: fmt.Errorf(format, args...)}
}

// Of finds the Error in err, or judges err by its kind: a full disk, a missing
// file, a broken connection. It returns nil for nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return &Error{Reason: known.Reason, Passing: known.Passing, Err: err}
	}
	var netErr net.Error
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &Error{Reason: v1alpha1.TransferReasonNoSpace, Err: err}
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Reason: v1alpha1.TransferReasonNotFound, Err: err}
	case errors.As(err, &netErr), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Reason: v1alpha1.TransferReasonRetrying, Passing: true, Err: err}
	}
	return &Error{Reason: v1alpha1.TransferReasonFailed, Err: err}
}
