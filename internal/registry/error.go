package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
)

// Error classifies an error of reading an image that came from Pull.
func Error(err error) error { return classify("pull", err) }

// classify turns what the library returns into a fault with its reason. The
// library redacts credentials in the addresses that it names; the queries of
// others, which signed addresses of blobs carry, are removed here.
func classify(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	reason, passing := judge(err)
	if reason == v1alpha1.TransferReasonNoSpace {
		what += ": the registry has no space left" // its own words are a number
	}
	return &fault.Error{Reason: reason, Passing: passing, Err: fmt.Errorf("%s: %w", what, redact(err))}
}

func judge(err error) (reason string, passing bool) {
	var (
		terr    *transport.Error
		unknown x509.UnknownAuthorityError
		cert    *tls.CertificateVerificationError
		noTLS   tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS), errors.As(err, &unknown), errors.As(err, &cert):
		return v1alpha1.TransferReasonFailed, false
	case errors.As(err, &terr):
		return judgeStatus(terr)
	}
	f := fault.Of(err)
	if f.Reason == v1alpha1.TransferReasonFailed {
		// The rest is what the network does: a digest that differs, a reset, a time-out.
		return v1alpha1.TransferReasonRetrying, true
	}
	return f.Reason, f.Passing
}

// judgeStatus judges an answer. What somebody at the registry can mend while a
// migration waits (a password, room) is passing: its phase has a deadline.
func judgeStatus(err *transport.Error) (reason string, passing bool) {
	switch {
	case full(err):
		return v1alpha1.TransferReasonNoSpace, true
	case err.StatusCode == http.StatusUnauthorized, err.StatusCode == http.StatusForbidden:
		return v1alpha1.TransferReasonUnauthorized, true
	case err.StatusCode == http.StatusNotFound:
		return v1alpha1.TransferReasonNotFound, false
	case err.StatusCode == http.StatusTooManyRequests, err.StatusCode == http.StatusRequestTimeout,
		err.StatusCode >= http.StatusInternalServerError, err.Temporary():
		return v1alpha1.TransferReasonRetrying, true
	}
	return v1alpha1.TransferReasonFailed, false
}

// full tells whether the registry has no room. There is a status for it that few
// use; the reference implementation answers 500 with the error of its file
// system: its text, or, in the detail, the error itself as JSON has it, which holds
// the number alone.
func full(err *transport.Error) bool {
	if err.StatusCode == http.StatusInsufficientStorage || strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return true
	}
	for _, d := range err.Errors {
		if detail, _ := d.Detail.(map[string]any); detail != nil {
			if cause, _ := detail["Enclosed"].(map[string]any); cause["Err"] == float64(syscall.ENOSPC) {
				return true
			}
		}
	}
	return false
}

// redact removes the query and the user from the address in a *url.Error.
func redact(err error) error {
	var uerr *url.Error
	if !errors.As(err, &uerr) {
		return err
	}
	u, perr := url.Parse(uerr.URL)
	if perr != nil {
		return fmt.Errorf("%s: %w", uerr.Op, uerr.Err)
	}
	return fmt.Errorf("%s %s://%s%s: %w", uerr.Op, u.Scheme, u.Host, u.Path, uerr.Err)
}
