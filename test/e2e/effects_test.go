package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

var (
	deaths = flag.Int("deaths", 2, "`number` of times that the manager dies, of each strategy")
	seed   = flag.Uint64("seed", 0, "by which it is drawn when; 0: by the time")
)

// fewest is how many effects the manager has at least in a migration: deaths are drawn
// among them, or among as many as were seen.
const fewest = 30

// draws are by the seed, which is told.
func draws(t *testing.T) *rand.Rand {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("-seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, *seed))
}

// TestEffects lets the manager die in the middle of migrations under load: before,
// during or after an effect that it has, drawn by a seed. Its next process brings each
// to the same end, nothing is lost, and nothing is left that was not there before.
func TestEffects(t *testing.T) {
	draw := draws(t)
	for _, tc := range []struct {
		name  string
		first string // death, which is worth more than one by chance
		start func(context.Context, *testing.T) (*harness.Flow, func())
	}{
		// containerd gives the checkpoint up when its client hangs up, and leaves the
		// container frozen: that is the agent's to mend.
		{"standalone", "Checkpoint/during", func(ctx context.Context, t *testing.T) (*harness.Flow, func()) {
			cfg := busy("effects")
			flow := startFlow(ctx, t, cfg)
			return flow, func() {
				o, err := flow.Finish(ctx, flow.Pod)
				if err != nil {
					t.Fatal(err)
				}
				judged(t, o)
			}
		}},
		{"Shadow", "delete *v1.Pod/after", ordinal(v1alpha1.StrategyShadow)},
		{"Sequential", "Send FREEZE/after", ordinal(v1alpha1.StrategySequential)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := within(t, time.Minute+time.Duration(*deaths)*2*time.Minute)
			flow, finish := tc.start(ctx, t)
			if err := flow.Counted(ctx, 100); err != nil {
				t.Fatal(err)
			}
			among := fewest
			for i := range *deaths {
				death := fmt.Sprintf("%d/%s", 1+draw.IntN(among), []string{"before", "after", "during"}[draw.IntN(3)])
				if i == 0 {
					death = tc.first
				}
				among = max(among, dies(ctx, t, flow, i+1, tc.name, death))
			}
			finish()
		})
	}
}

// ordinal starts a StatefulSet; its ordinal 0 is moved by a strategy.
func ordinal(strategy v1alpha1.Strategy) func(context.Context, *testing.T) (*harness.Flow, func()) {
	return func(ctx context.Context, t *testing.T) (*harness.Flow, func()) {
		set := startStateful(ctx, t, harness.WorkloadConfig{Name: "effects-" + strings.ToLower(string(strategy)), Queues: load.QuorumUnlimited})
		return set.Ordinals[0], func() {
			if err := set.Steady(ctx); err != nil {
				t.Fatal(err)
			}
			finishAll(ctx, t, set, load.Verdict.OK)
		}
	}
}

// dies moves a counter while the manager dies at a point, and returns how many
// effects the migration had.
func dies(ctx context.Context, t *testing.T, flow *harness.Flow, n int, strategy, death string) int {
	t.Helper()
	before := inventory(ctx, t, flow, nil)
	restore, err := lab.Instrument(ctx, death)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := restore(ctx); err != nil {
			t.Error(err)
		}
	})
	m := moveNext(ctx, t, flow, n, func(m *v1alpha1.StatefulMigration) {
		if strategy != "standalone" {
			m.Spec.Strategy = v1alpha1.Strategy(strategy)
		}
	})
	effects, died, err := lab.Effects(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if died == nil {
		t.Logf("it had %d effects, and did not come to %s", len(effects), death)
	} else {
		t.Logf("died %s effect %d, %s; then had %d", died.Side, died.N, died.Name, len(effects)-died.N)
	}
	for _, h := range m.Migration.Status.Hops {
		if h.Result != "Committed" {
			t.Errorf("hop %d ended as %s", h.Hop, h.Result)
		}
	}
	inventory(ctx, t, flow, before)
	return len(effects)
}

// inventory takes the inventory of the flow's namespace; with an earlier one, until it
// is the same: the kubelet takes its time to forget a pod, and so do the files kept for it.
func inventory(ctx context.Context, t *testing.T, flow *harness.Flow, want []string) []string {
	t.Helper()
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; <-time.After(time.Second) {
		got, err := lab.Inventory(ctx, flow.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil || slices.Equal(got, want) {
			return got
		}
		if time.Now().After(deadline) {
			t.Errorf("after %v there is\n  %s\nbefore there was\n  %s", patience, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			return got
		}
	}
}

// TestAgentKilled kills the agent of a node (SIGKILL) when it has a leg to do: on the
// source's node while it watches over the checkpoint and while it pushes, on the
// target's while it stages. The next process does it. As often as the manager dies.
func TestAgentKilled(t *testing.T) {
	legs := []v1alpha1.TransferDirection{v1alpha1.TransferThaw, v1alpha1.TransferPush, v1alpha1.TransferStage}
	draws(t).Shuffle(len(legs), func(i, j int) { legs[i], legs[j] = legs[j], legs[i] })
	for _, leg := range legs[:min(*deaths, len(legs))] {
		t.Run(string(leg), func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			cfg := busy("agent-" + strings.ToLower(string(leg)))
			cfg.BallastMB = 48 // for the leg to last
			flow := startFlow(ctx, t, cfg)
			if err := flow.Counted(ctx, 100); err != nil {
				t.Fatal(err)
			}
			before := inventory(ctx, t, flow, nil)
			killed := make(chan error, 1)
			go func() { killed <- killAgent(ctx, flow.Namespace, leg) }()
			m := moveNext(ctx, t, flow, 1, nil)
			if err := <-killed; err != nil {
				t.Fatal(err)
			}
			t.Logf("%d attempts", m.Migration.Status.Attempt)
			o, err := flow.Finish(ctx, flow.Pod)
			if err != nil {
				t.Fatal(err)
			}
			judged(t, o)
			inventory(ctx, t, flow, before)
		})
	}
}

// killAgent kills the agent that a leg of that direction is for, when it has begun
// or is about to.
func killAgent(ctx context.Context, namespace string, direction v1alpha1.TransferDirection) error {
	var node string
	err := lab.AwaitLeg(ctx, namespace, func(leg *v1alpha1.CheckpointTransfer) bool {
		node = leg.Spec.NodeName
		return leg.Spec.Direction == direction &&
			(direction != v1alpha1.TransferThaw || meta.IsStatusConditionTrue(leg.Status.Conditions, v1alpha1.TransferReady))
	})
	if err != nil {
		return err
	}
	agent, err := lab.AgentPod(ctx, node)
	if err != nil {
		return err
	}
	return lab.Kill(ctx, agent)
}
