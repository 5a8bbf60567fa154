package e2e

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// TestSamples deploys each sample as its manifests say, moves it under load, and
// judges what came out.
func TestSamples(t *testing.T) {
	for _, name := range harness.Samples() {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, 2*time.Minute)
			s, err := lab.StartSample(ctx, filepath.Join(*repository, "samples"), name)
			if s != nil {
				t.Cleanup(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					if err := s.Close(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			j, err := s.Move(ctx, func(*v1alpha1.StatefulMigration) {})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(j.Verdict)
			for _, p := range j.Problems {
				t.Error(p)
			}
			if !j.OK {
				t.Errorf("from %s to %s", s.From, s.To)
			}
		})
	}
}
