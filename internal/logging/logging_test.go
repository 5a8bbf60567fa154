package logging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"ms2m.dev/ms2m/internal/logging"
)

// TestEveryLineIsJSON: whoever writes it.
func TestEveryLineIsJSON(t *testing.T) {
	var out bytes.Buffer
	log := logging.Setup(&out, 0)
	log.Info("one", "migrationUID", "m-1")
	log.V(1).Info("not asked for")
	ctrl.Log.Error(errors.New("broken\nin two lines"), "two")
	klog.Warning("three")
	klog.ErrorS(errors.New("broken"), "four", "pod", klog.KRef("ns", "name"))
	klog.Flush()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var said []string
	for _, line := range lines {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		msg, _ := fields["msg"].(string)
		said = append(said, msg)
	}
	if got := strings.Join(said, " "); got != "one two three four" {
		t.Errorf("said %q", got)
	}
}
