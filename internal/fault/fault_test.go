package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
)

func TestOf(t *testing.T) {
	for name, tc := range map[string]struct {
		err     error
		reason  string
		passing bool
	}{
		"own, wrapped":      {fmt.Errorf("push: %w", fault.Final(v1alpha1.TransferReasonUnauthorized, "no")), v1alpha1.TransferReasonUnauthorized, false},
		"own, passing":      {fault.Passing("again"), v1alpha1.TransferReasonRetrying, true},
		"disk full":         {&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, v1alpha1.TransferReasonNoSpace, false},
		"missing file":      {fs.ErrNotExist, v1alpha1.TransferReasonNotFound, false},
		"connection broken": {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, v1alpha1.TransferReasonRetrying, true},
		"anything else":     {errors.New("odd"), v1alpha1.TransferReasonFailed, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := fault.Of(tc.err)
			if got.Reason != tc.reason || got.Passing != tc.passing {
				t.Errorf("Of(%v) = %s, passing %v; want %s, %v", tc.err, got.Reason, got.Passing, tc.reason, tc.passing)
			}
			if got.Error() != tc.err.Error() {
				t.Errorf("text %q lost its context %q", got, tc.err)
			}
		})
	}
	if fault.Of(nil) != nil {
		t.Error("Of(nil) is not nil")
	}
}
