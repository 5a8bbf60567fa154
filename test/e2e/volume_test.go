package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// volumes runs a CSI driver for the time of a test.
func volumes(ctx context.Context, t *testing.T) *harness.VolumeStore {
	t.Helper()
	store, err := lab.StartVolumeStore(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	undo, err := lab.DeployCSI(ctx, store)
	if undo != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := undo(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// startWithVolume starts a StatefulSet of one counter that writes its count to a
// volume which one node at a time can have. handle is the volume's.
func startWithVolume(ctx context.Context, t *testing.T, name string) (set *harness.StatefulFlow, handle string) {
	t.Helper()
	cfg := harness.WorkloadConfig{Name: name, Replicas: 1, Change: func(p *corev1.PodTemplateSpec) {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "FILE", Value: "/data/count"})
	}}
	harness.Claim(&cfg, "data", "/data")
	pv, err := lab.Volume(ctx, client.ObjectKey{Namespace: "e2e", Name: fmt.Sprintf("data-%s-0", name)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Client.Delete(context.Background(), pv); err != nil {
			t.Error(err)
		}
	})
	return startStateful(ctx, t, cfg), pv.Name
}

// TestVolumeMoves moves a counter with a volume that one node at a time can have,
// twice: Auto comes to Sequential, the volume follows, and the file in it tells
// the count at the end.
func TestVolumeMoves(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	store := volumes(ctx, t)
	set, handle := startWithVolume(ctx, t, "volume")
	flow := set.Ordinals[0]
	if err := flow.Counted(ctx, 200); err != nil {
		t.Fatal(err)
	}
	nodes := []string{flow.Pod.Spec.NodeName}
	for n := range 2 {
		m := moveNext(ctx, t, flow, n+1, nil)
		if s := m.Migration.Status.Strategy; s != v1alpha1.StrategySequential {
			t.Errorf("strategy %s", s)
		}
		committed(t, m.Migration, 1)
		nodes = append(nodes, flow.Pod.Spec.NodeName)
	}
	outcome := finishAll(ctx, t, set, load.Verdict.OK)[0]
	fileTells(ctx, t, store, set, handle, outcome.End.Count, nodes)
}

// TestVolume has such a counter on its node: what the test above is made of works
// by itself.
func TestVolume(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	store := volumes(ctx, t)
	set, handle := startWithVolume(ctx, t, "volume-alone")
	flow := set.Ordinals[0]
	if err := flow.Counted(ctx, 200); err != nil {
		t.Fatal(err)
	}
	outcome := finishAll(ctx, t, set, load.Verdict.OK)[0]
	fileTells(ctx, t, store, set, handle, outcome.End.Count, []string{flow.Pod.Spec.NodeName})
}

// fileTells takes the StatefulSet away, so that the volume comes back, and reads it.
func fileTells(ctx context.Context, t *testing.T, store *harness.VolumeStore, set *harness.StatefulFlow, handle string, count uint64, nodes []string) {
	t.Helper()
	if err := set.Scale(ctx, 0); err != nil {
		t.Fatal(err)
	}
	files, taken, refused := store.Volume(handle)
	if got := string(files["count"]); got != strconv.FormatUint(count, 10) {
		t.Errorf("the file tells %q, the counter has counted %d", got, count)
	}
	if !slices.Equal(taken, nodes) {
		t.Errorf("the volume was on %v, the pod on %v", taken, nodes)
	}
	t.Logf("the volume was on %v, and was refused to a node %d times", taken, refused)
}
