package e2e

import (
	"testing"
	"time"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestReplicas moves one of two counters that share a queue. Each message must
// be in the memory of one of them; the other does not notice.
func TestReplicas(t *testing.T) {
	for _, kind := range []load.Kind{load.Classic, load.QuorumUnlimited} {
		t.Run(string(kind), func(t *testing.T) {
			const prefetch = 10
			ctx := within(t, 4*time.Minute)
			flow := startFlow(ctx, t, harness.FlowConfig{
				CounterConfig: harness.CounterConfig{
					Name: "replicas-" + string(kind), Work: 5 * time.Millisecond, Prefetch: prefetch, Queues: kind},
				Rate: 250, Producers: 4,
			})
			other, err := flow.Join(ctx, harness.NodeB)
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Collector.Reach(ctx, 100); err != nil {
				t.Fatal(err)
			}
			m := move(ctx, t, flow, nil)
			// What the source had been given and not begun at the FREEZE went back to
			// the broker; the other replica may have got it behind later ones.
			judgedBy(t, m.Outcome, func(v load.Verdict) bool { return v.OKWithoutLate(prefetch) })
			assertTarget(t, flow, m)
			pod, err := lab.PodReady(ctx, keyOf(other.Pod))
			if err != nil {
				t.Fatal(err)
			}
			if pod.UID != other.Pod.UID || pod.Status.ContainerStatuses[0].RestartCount != 0 {
				t.Errorf("the other replica was replaced or restarted")
			}
			if o := m.Others[0]; o.Consumer != "Live" || o.Count < 200 {
				t.Errorf("the other replica is %s and has counted %d", o.Consumer, o.Count)
			}
			t.Logf("the moved replica counted %d, the other %d", m.End.Count, m.Others[0].Count)
			noTraces(ctx, t, flow, m.Migration, m.Target)
		})
	}
}
