package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// working are the phases in which something is done.
var working = []v1alpha1.MigrationPhase{
	v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
	v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing,
}

// party is somebody who talks to the broker.
type party string

const (
	source   party = "source"
	target   party = "target"
	manager  party = "manager"
	everyone party = "everyone" // producers and judge, too
)

// TestConnectionLoss resets connections to the broker in the phases of a
// migration: everyone's in one phase, or one party's in each of them.
func TestConnectionLoss(t *testing.T) {
	type loss struct {
		who  party
		in   []v1alpha1.MigrationPhase
		kind load.Kind
	}
	kinds := []load.Kind{load.Classic, load.QuorumUnlimited}
	var losses []loss
	for i, phase := range working {
		losses = append(losses, loss{everyone, []v1alpha1.MigrationPhase{phase}, kinds[i%2]})
	}
	// The target is there from Restoring on, but its first connection ends that.
	losses = append(losses,
		loss{source, working, load.QuorumUnlimited}, loss{manager, working, load.Classic}, loss{target, working[3:], load.QuorumUnlimited})
	if *full {
		losses = nil
		for i, phase := range working {
			for _, kind := range load.Kinds() {
				for _, who := range []party{source, target, manager, everyone} {
					if who != target || i >= 3 {
						losses = append(losses, loss{who, []v1alpha1.MigrationPhase{phase}, kind})
					}
				}
			}
		}
	}
	for _, l := range losses {
		when := "always"
		if len(l.in) == 1 {
			when = string(l.in[0])
		}
		t.Run(fmt.Sprintf("%s/%s/%s", l.who, when, l.kind), func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			interrupted(ctx, t, harness.CounterConfig{
				Name: strings.ToLower(fmt.Sprintf("loss-%s-%s-%s", l.who, when, l.kind)), Queues: l.kind,
			}, l.in, func(flow *harness.Flow, m *v1alpha1.StatefulMigration) bool {
				return disconnect(ctx, t, flow, m, l.who)
			})
		})
	}
}

// TestBrokerRestart kills the broker while the source relays and while the copy
// replays.
func TestBrokerRestart(t *testing.T) {
	for i, phase := range []v1alpha1.MigrationPhase{v1alpha1.PhaseRestoring, v1alpha1.PhaseReplaying} {
		for j, kind := range []load.Kind{load.Classic, load.QuorumUnlimited} {
			if i == j && !*full {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", phase, kind), func(t *testing.T) {
				ctx := within(t, 5*time.Minute)
				interrupted(ctx, t, harness.CounterConfig{
					Name: strings.ToLower(fmt.Sprintf("restart-%s-%s", phase, kind)), Queues: kind,
				}, []v1alpha1.MigrationPhase{phase}, func(*harness.Flow, *v1alpha1.StatefulMigration) bool {
					if err := lab.Restart(ctx, "rabbitmq"); err != nil {
						t.Fatal(err)
					}
					return true
				})
			})
		}
	}
}

// slowNetwork bounds what the checkpoint of a counter may take of the network: each of its
// two ways then lasts for seconds, however idle the machine is, and also when it is so busy
// that what interrupts it comes late.
func slowNetwork(ctx context.Context, t *testing.T, instance string) {
	t.Helper()
	policy := &v1alpha1.MigrationPolicy{ObjectMeta: metav1.ObjectMeta{Name: instance}}
	policy.Spec.Selectors.PodSelector = map[string]string{"app.kubernetes.io/instance": instance}
	policy.Spec.Bounds.BandwidthPerMigration = ptr.To(resource.MustParse("12Mi"))
	if err := lab.Client.Create(ctx, policy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Client.Delete(context.WithoutCancel(ctx), policy); err != nil {
			t.Error(err)
		}
	})
}

// interrupted migrates a counter, does something to it in phases, and asserts
// that it was done in these phases, that the migration is completed and that nothing
// is missing. An output may be repeated, and can be told.
func interrupted(ctx context.Context, t *testing.T, cfg harness.CounterConfig, in []v1alpha1.MigrationPhase,
	interrupt func(*harness.Flow, *v1alpha1.StatefulMigration) bool) {
	t.Helper()
	// Big and slow enough for every phase to last: the checkpoint and its way take their time,
	// the copy has not caught up when the phase is seen, nor when the source is frozen.
	cfg.Work, cfg.BallastMB = 5*time.Millisecond, 48
	slowNetwork(ctx, t, cfg.Name)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: cfg, Rate: 100, Producers: 3})
	m := create(ctx, t, flow, func(m *v1alpha1.StatefulMigration) { m.Spec.ReplayCutoffSeconds = 1 })
	done := map[v1alpha1.MigrationPhase]time.Time{}
	m = follow(ctx, t, m, func(m *v1alpha1.StatefulMigration) bool {
		phase := m.Status.Phase
		if _, before := done[phase]; !before && slices.Contains(in, phase) && interrupt(flow, m) {
			done[phase] = time.Now()
		}
		return harness.Ended(m)
	})
	if m.Status.Phase != v1alpha1.PhaseCompleted {
		t.Fatal(harness.Summary(m))
	}
	for _, p := range m.Status.PhaseTimes {
		if !slices.Contains(in, p.Phase) {
			continue
		}
		at, ok := done[p.Phase]
		if !ok || at.After(p.StartedAt.Add(time.Duration(*p.DurationMillis)*time.Millisecond)) {
			t.Errorf("%s was over, after %d ms, before anything was done to it", p.Phase, *p.DurationMillis)
			continue
		}
		t.Logf("interrupted %v into %s, which took %d ms", at.Sub(p.StartedAt.Time).Round(time.Millisecond), p.Phase, *p.DurationMillis)
	}
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
}

// disconnect resets a party's connections in the phase that the migration is in,
// as soon as there are any. It reports whether it could before the phase was over.
func disconnect(ctx context.Context, t *testing.T, flow *harness.Flow, m *v1alpha1.StatefulMigration, who party) bool {
	t.Helper()
	phase := m.Status.Phase
	for m.Status.Phase == phase {
		addresses := addressesOf(ctx, t, flow, m, who)
		if who == everyone || len(addresses) > 0 {
			n, err := lab.Disconnect(ctx, addresses...)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				return true
			}
		}
		m = m.DeepCopy() // the watch's
		if err := lab.Client.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			t.Fatal(err)
		}
	}
	return false
}

func addressesOf(ctx context.Context, t *testing.T, flow *harness.Flow, m *v1alpha1.StatefulMigration, who party) []string {
	t.Helper()
	switch who {
	case source:
		return []string{flow.Pod.Status.PodIP}
	case target:
		pods, err := flow.Pods(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			if p.UID == m.Status.TargetPodUID && p.Status.PodIP != "" {
				return []string{p.Status.PodIP}
			}
		}
	case manager:
		return []string{podOf(ctx, t, flow, m, manager).Status.PodIP}
	}
	return nil
}
