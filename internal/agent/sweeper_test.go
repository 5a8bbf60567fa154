package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ms2m.dev/ms2m/internal/staging"
)

// TestSweepFollowsThePods: what is kept for a pod goes when the kubelet removes
// the pod's directory, without any leg.
func TestSweepFollowsThePods(t *testing.T) {
	w := newWorld(t)
	pod := filepath.Join(w.agent.Pods, "leaving")
	if err := os.Mkdir(pod, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := w.agent.Area.Begin(staging.Slot{PodUID: "leaving", Container: "cart"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.agent.sweepAlways(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	kept := filepath.Join(w.root, "restore", "leaving")
	if !exists(kept) {
		t.Fatal("removed while the pod is there")
	}
	if err := os.Remove(pod); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); exists(kept); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still there after the pod has gone")
		}
	}
}
