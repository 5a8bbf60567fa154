package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint"
)

// TestParts: they follow each other, and what CRIU says of itself lies within its part,
// however late the agent heard of its first step.
func TestParts(t *testing.T) {
	t.Parallel()
	criu := checkpoint.Stats{Freezing: 5 * time.Millisecond, Frozen: 80 * time.Millisecond}
	for name, test := range map[string]struct {
		frozen      int64
		begin, dump int64
	}{
		"heard of at once":    {frozen: 40, begin: 40, dump: 160},
		"heard of late":       {frozen: 150, begin: 115, dump: 85},
		"heard of at the end": {frozen: 200, begin: 115, dump: 85},
		"clocks that differ":  {frozen: -10, begin: 0, dump: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			at := func(ms int64) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
			want := &v1alpha1.CheckpointTimes{BeginMillis: test.begin, DumpMillis: test.dump, FreezingMillis: 5, FrozenMillis: 80, ThawMillis: 30}
			if diff := cmp.Diff(want, parts(begun, at(test.frozen), at(200), at(230), criu)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
