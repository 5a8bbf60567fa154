package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// read reads a counter's count through the Service of its ordinal, 100 times per second.
// The lab routes Services by node-a, so that it is this node's kube-proxy which
// chooses the pod.
func read(ctx context.Context, t *testing.T, flow *harness.Flow) *harness.Reader {
	t.Helper()
	base, err := lab.ClusterIP(ctx, keyOf(flow.Pod))
	if err != nil {
		t.Fatal(err)
	}
	return harness.StartReader(ctx, base+readPath, 100)
}

// TestReads moves an ordinal that is read all the time. No read fails. If every
// process answers by itself, a read may reach the frozen source when the copy has
// counted on already, for less than a second; if those that do not own the
// count pass the read on, none goes back.
func TestReads(t *testing.T) {
	for _, reads := range []string{"any", "pass"} {
		t.Run(reads, func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			set := startStateful(ctx, t, harness.WorkloadConfig{
				Name: "reads-" + reads, Replicas: 1,
				Change: func(p *corev1.PodTemplateSpec) {
					c := &p.Spec.Containers[0]
					c.Env = append(c.Env, corev1.EnvVar{Name: "READS", Value: reads})
					// Whoever deletes a pod, kube-proxy hears of it when the pod does: one
					// that is to refuse nobody goes on for a moment.
					c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 3}}}
					p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](10)
				},
			})
			flow := set.Ordinals[0]
			if err := flow.Counted(ctx, 200); err != nil {
				t.Fatal(err)
			}
			reader := read(ctx, t, flow)
			const moves = 3
			for n := range moves {
				moveNext(ctx, t, flow, n+1, nil)
			}
			seen := reader.Finish()
			t.Logf("%d moves, %v", moves, seen)
			for _, err := range seen.Errors[:min(5, len(seen.Errors))] {
				t.Errorf("a read failed: %v", err)
			}
			switch {
			case reads == "pass" && seen.Stale > 0:
				t.Errorf("%d reads went back", seen.Stale)
			case seen.Staleness >= time.Second:
				t.Errorf("an older count was read for %v", seen.Staleness)
			}
			finishAll(ctx, t, set, load.Verdict.OK)
		})
	}
}
