package kubelet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Error is a checkpoint that was not made.
type Error struct {
	Code      int // of HTTP; zero: there was no answer
	Message   string
	Temporary bool // the same call may succeed later
}

// Error implements error.
func (e *Error) Error() string {
	if e.Code == 0 {
		return "checkpoint: " + e.Message
	}
	return fmt.Sprintf("checkpoint: the kubelet answered %d: %s", e.Code, e.Message)
}

// newError reads a refusal: plain text by the kubelet, or a Status by the API
// server's proxy.
func newError(code int, body []byte) *Error {
	e := &Error{Code: code, Message: clip(string(body))}
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		e.Message = clip(status.Message)
	}
	switch {
	case strings.Contains(e.Message, "not implemented"), strings.Contains(e.Message, "Unimplemented"),
		strings.Contains(e.Message, "disabled by the feature gate"):
		// The runtime or the kubelet has no checkpoints: it will not grow them.
	case code >= http.StatusInternalServerError, code == http.StatusTooManyRequests,
		// A kubelet that has just been started does not know its pods yet. Whether
		// the pod is gone, the API server says.
		code == http.StatusNotFound && strings.Contains(e.Message, "pod does not exist"):
		e.Temporary = true
	}
	return e
}
