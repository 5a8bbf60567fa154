package e2e

import (
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestSourceKilled kills the source's process while the copy replays. The copy
// takes over what the source has written, and what it has not: nothing is lost.
func TestSourceKilled(t *testing.T) {
	for _, kind := range []load.Kind{load.Classic, load.QuorumUnlimited} {
		t.Run(string(kind), func(t *testing.T) {
			ctx := within(t, 5*time.Minute)
			cfg := busy("killed-" + string(kind))
			cfg.Queues = kind
			flow := startFlow(ctx, t, cfg)
			m := replaying(ctx, t, flow)
			kill(ctx, t, flow.Pod)
			killed := time.Now()
			m = follow(ctx, t, m, harness.Ended)
			if m.Status.Phase != v1alpha1.PhaseCompleted {
				t.Fatal(harness.Summary(m))
			}
			t.Logf("completed %.1f s after the source was killed", time.Since(killed).Seconds())
			pod, err := lab.TargetPod(ctx, m)
			if err != nil {
				t.Fatal(err)
			}
			if err := flow.Counted(ctx, flow.Collector.Count()+100); err != nil {
				t.Fatal(err)
			}
			outcome, err := flow.Finish(ctx, pod)
			if err != nil {
				t.Fatal(err)
			}
			judgedBy(t, outcome, load.Verdict.OKWithoutRepeated)
			noTraces(ctx, t, flow, m, pod)
		})
	}
}
