package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestMigration moves a counter under load and asserts, one by one, that every
// part of the way was gone.
func TestMigration(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  harness.FlowConfig
	}{
		{"classic queues", harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "migration-classic"}}},
		{"quorum queues", harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "migration-quorum", Queues: load.QuorumUnlimited}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			flow := startFlow(ctx, t, tc.cfg)
			m := move(ctx, t, flow, func(m *v1alpha1.StatefulMigration) {
				m.Spec.CheckpointRetention = v1alpha1.RetentionRetain
			})
			assertMoved(ctx, t, flow, m)
		})
	}
}

func assertMoved(ctx context.Context, t *testing.T, flow *harness.Flow, m *harness.Move) {
	status := m.Migration.Status
	t.Run("the source was checkpointed", func(t *testing.T) {
		holds(t, m.Migration, v1alpha1.ConditionCheckpointed)
		if status.CheckpointID == "" || status.Attempt < 1 {
			t.Errorf("checkpoint %q of attempt %d", status.CheckpointID, status.Attempt)
		}
		if status.Pauses == nil || status.Pauses.CheckpointMillis == nil || *status.Pauses.CheckpointMillis <= 0 {
			t.Errorf("no pause at the checkpoint in %+v", status.Pauses)
		}
	})
	t.Run("the pause at the checkpoint is known in its parts", func(t *testing.T) {
		assertPause(t, status.Pauses)
	})
	t.Run("the image is in the registry under its digest", func(t *testing.T) {
		holds(t, m.Migration, v1alpha1.ConditionTransferred)
		assertImage(ctx, t, status.CheckpointImage)
	})
	t.Run("the target pod runs on the other node with the memory", func(t *testing.T) {
		holds(t, m.Migration, v1alpha1.ConditionRestored)
		assertTarget(t, flow, m)
	})
	t.Run("the messages were replayed", func(t *testing.T) {
		holds(t, m.Migration, v1alpha1.ConditionReplayed)
		p := status.Positions
		if p == nil || p.Checkpoint == 0 || p.End <= p.Checkpoint || p.Target != p.End {
			t.Errorf("positions %+v: want checkpoint < end = target", p)
		}
	})
	t.Run("the source pod is gone", func(t *testing.T) {
		pod := &corev1.Pod{}
		err := lab.Client.Get(ctx, client.ObjectKeyFromObject(flow.Pod), pod)
		if err == nil && pod.UID == flow.Pod.UID || err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("pod %s: %v", flow.Pod.Name, err)
		}
	})
	t.Run("the final counter equals what was sent", func(t *testing.T) {
		judged(t, m.Outcome)
	})
	t.Run("nothing is left behind", func(t *testing.T) {
		noTraces(ctx, t, flow, m.Migration, m.Target)
	})
}

// assertPause asserts that the parts of the pause are there, and that they are
// parts: none is negative, CRIU's own times fit into its turn, what is measured on
// the node until CRIU's end fits into the pause, and with the rest they make it up, but for the
// ways of PREPARE and PREPARED, which the manager counts and the source does not, and for
// containerd's answer that it has thawed: RESUME does not wait for it, and on a busy
// machine the source has gone on before the agent has it. Nothing is left for the call then.
func assertPause(t *testing.T, p *v1alpha1.Pauses) {
	t.Helper()
	if p == nil || p.CheckpointMillis == nil || p.Checkpoint == nil || p.Checkpoint.DrainMillis == nil || p.Checkpoint.CallMillis == nil || p.Checkpoint.Node == nil {
		t.Fatalf("pauses %+v: parts are missing", p)
	}
	whole, drain, call, n := *p.CheckpointMillis, *p.Checkpoint.DrainMillis, *p.Checkpoint.CallMillis, *p.Checkpoint.Node
	t.Logf("%d ms: drain %d, call %d, node %+v", whole, drain, call, n)
	node := n.BeginMillis + n.DumpMillis + n.ThawMillis
	if min(drain, call, n.BeginMillis, n.FreezingMillis, n.ThawMillis) < 0 || n.FrozenMillis <= 0 || n.DumpMillis <= 0 {
		t.Errorf("a part is missing")
	}
	if n.FreezingMillis+n.FrozenMillis > n.DumpMillis+rounding {
		t.Errorf("CRIU stopped the process for longer than it was at work")
	}
	if until := n.BeginMillis + n.DumpMillis; until > whole+rounding {
		t.Errorf("CRIU had ended after %d ms, later than the pause", until)
	}
	if sum := drain + call + node; sum < whole-rounding || call > 0 && sum > whole+rounding {
		t.Errorf("the parts add up to %d ms", sum)
	}
}

// rounding is what six parts in whole milliseconds can be off together.
const rounding = 6

// holds asserts that a condition is True.
func holds(t *testing.T, m *v1alpha1.StatefulMigration, condition string) {
	t.Helper()
	if got := harness.Condition(m, condition); got != metav1.ConditionTrue {
		t.Errorf("condition %s is %q", condition, got)
	}
}

func assertImage(ctx context.Context, t *testing.T, want *v1alpha1.CheckpointImage) {
	t.Helper()
	if want == nil {
		t.Fatal("no image in the status")
	}
	image, err := lab.Image(ctx, want.Reference)
	if err != nil {
		t.Fatal(err)
	}
	if image == nil {
		t.Fatalf("the registry has no %s", want.Reference)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if digest.String() != want.Digest {
		t.Errorf("digest %s, the status says %s", digest, want.Digest)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	if size == 0 || size > want.SizeBytes {
		t.Errorf("layers of %d bytes, the status says %d in all", size, want.SizeBytes)
	}
}

func assertTarget(t *testing.T, flow *harness.Flow, m *harness.Move) {
	t.Helper()
	pod := m.Target
	if pod.Spec.NodeName != harness.NodeB || pod.Spec.NodeName == flow.Node {
		t.Errorf("pod %s is on %s", pod.Name, pod.Spec.NodeName)
	}
	if pod.Status.Phase != corev1.PodRunning {
		t.Errorf("pod %s is %s", pod.Name, pod.Status.Phase)
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.RestartCount != 0 {
			t.Errorf("container %s was restarted %d times", c.Name, c.RestartCount)
		}
	}
	if got, want := pod.Spec.Containers[0].Image, flow.Pod.Spec.Containers[0].Image; got != want {
		t.Errorf("image %s, want the source's own, %s", got, want)
	}
	if !m.SameMemory() {
		t.Errorf("mark %s, started %v; the source's were %s, %v", m.End.Mark, m.End.StartedAt, m.Begin.Mark, m.Begin.StartedAt)
	}
	if !m.End.Owner {
		t.Errorf("the copy does not own the state: %s", m.End.Consumer)
	}
}

// TestCheckpointIsDeleted asserts that by default no image stays in the registry.
func TestCheckpointIsDeleted(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "retention"}})
	m := move(ctx, t, flow, nil)
	if m.Migration.Status.CheckpointImage == nil {
		t.Fatal("no image in the status")
	}
	image, err := lab.Image(ctx, m.Migration.Status.CheckpointImage.Reference)
	if err != nil {
		t.Fatal(err)
	}
	if image != nil {
		t.Errorf("the registry still has %s", m.Migration.Status.CheckpointImage.Reference)
	}
	judged(t, m.Outcome)
}
