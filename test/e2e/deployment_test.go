package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// marks are the memories of the live counters.
func marks(ctx context.Context, t *testing.T, d *harness.DeploymentFlow) []string {
	t.Helper()
	states, err := d.States(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range states {
		all = append(all, s.Mark)
	}
	slices.Sort(all)
	return all
}

// TestDeployment moves the three counters of a Deployment in turn, ten times in
// all, each to the next node. Its owner, its Service and its budget see three ready
// pods all the time, and the memories at the end are those of the beginning.
func TestDeployment(t *testing.T) {
	const moves, prefetch = 10, 10
	ctx := within(t, 8*time.Minute)
	d := startDeployment(ctx, t, harness.WorkloadConfig{
		Name: "ten-deployment", Prefetch: prefetch, Rate: 300, Producers: 4, Queues: load.QuorumUnlimited})
	if err := d.Counted(ctx, 600); err != nil {
		t.Fatal(err)
	}
	before := marks(ctx, t, d)
	watched, err := d.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := d.Live(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var moved []string
	for _, p := range pods {
		moved = append(moved, p.Name)
	}
	var done []*harness.Move
	for n := range moves {
		if err := d.Choose(ctx, &pods[n%len(pods)]); err != nil {
			t.Fatal(err)
		}
		m := moveNext(ctx, t, d.Flow, n+1, nil)
		assertReplica(t, m)
		committed(t, m.Migration, 1)
		pods[n%len(pods)] = *m.Target
		done = append(done, m)
	}
	if err := d.Steady(ctx); err != nil {
		t.Fatal(err)
	}
	settled(ctx, t, d.AllPods)
	undisturbed(ctx, t, watched, 3, false, moved...)
	if after := marks(ctx, t, d); !slices.Equal(before, after) {
		t.Errorf("memories %v, were %v", after, before)
	}
	o, err := d.Finish(ctx, d.Pod)
	if err != nil {
		t.Fatal(err)
	}
	// What a source had been given and not begun at a FREEZE, another may have got
	// behind later ones.
	judgedBy(t, o, func(v load.Verdict) bool { return v.OKWithoutLate(moves * prefetch) })
	for _, m := range done {
		noTraces(ctx, t, d.Flow, m.Migration, d.Pod)
	}
	if len(o.Others) != 3 || o.Counted < moves*300 {
		t.Errorf("%d messages by %d counters in %d moves: that is no load", o.Counted, len(o.Others), moves)
	}
}

// assertReplica asserts that a copy belongs to its source's ReplicaSet as the source did.
func assertReplica(t *testing.T, m *harness.Move) {
	t.Helper()
	was, is := m.Source, m.Target
	if was, is := metav1.GetControllerOf(was), metav1.GetControllerOf(is); is == nil || is.UID != was.UID {
		t.Errorf("owner %+v, was %+v", is, was)
	}
	if got, want := ownLabels(is), ownLabels(was); !maps.Equal(got, want) {
		t.Errorf("labels %v, were %v", got, want)
	}
	if cost, ok := is.Annotations[corev1.PodDeletionCost]; ok && cost != was.Annotations[corev1.PodDeletionCost] {
		t.Errorf("deletion cost %q", cost)
	}
	if s := m.Migration.Status; s.Owner == nil || s.Owner.Kind != "ReplicaSet" {
		t.Errorf("owner %+v in the status", s.Owner)
	}
}

// TestDeploymentChanges changes a Deployment while one of its pods is moved. The
// migration ends, and then there are the pods that the owner wants and no others.
func TestDeploymentChanges(t *testing.T) {
	for _, tc := range []struct {
		name     string
		replicas int32
		change   func(context.Context, *harness.DeploymentFlow) error
		want     int32 // pods; 0: as before
		strict   bool
	}{
		{"up from one", 1, scaled(2), 2, true},
		{"up from two", 2, scaled(4), 4, true},
		// Memory that its owner gives up is gone, with or without a migration.
		{"down", 3, scaled(1), 1, false},
		{"rollout", 2, rolledOut, 0, false},
		{"rollout of one", 1, rolledOut, 0, false},
		// The copy takes over; what the ReplicaSet made instead is one too many.
		{"source deleted", 2, func(ctx context.Context, d *harness.DeploymentFlow) error {
			return lab.Client.Delete(ctx, d.Pod)
		}, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const prefetch = 10
			ctx := within(t, 4*time.Minute)
			d := startDeployment(ctx, t, harness.WorkloadConfig{
				Name: "change-" + strings.ReplaceAll(tc.name, " ", "-"), Replicas: tc.replicas, Prefetch: prefetch,
				Work: 5 * time.Millisecond, Rate: 150 * float64(tc.replicas), Producers: 4, Change: heavy,
			})
			if err := d.Counted(ctx, 200); err != nil {
				t.Fatal(err)
			}
			before := marks(ctx, t, d)
			m := replaying(ctx, t, d.Flow)
			if err := tc.change(ctx, d); err != nil {
				t.Fatal(err)
			}
			m = follow(ctx, t, m, harness.Ended)
			t.Logf("%s; %s", harness.Summary(m), pauses(m))
			if err := d.Steady(ctx); err != nil {
				t.Fatal(err)
			}
			settled(ctx, t, d.AllPods)
			pods, err := d.AllPods(ctx)
			if err != nil {
				t.Fatal(err)
			}
			want := tc.want
			if want == 0 {
				want = tc.replicas
			}
			if len(pods) != int(want) {
				t.Errorf("%d pods, want %d", len(pods), want)
			}
			for _, p := range pods {
				if metav1.GetControllerOf(&p) == nil {
					t.Errorf("pod %s has no owner", p.Name)
				}
			}
			o, err := d.Finish(ctx, &pods[0])
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d messages: %s", o.Sent, o.Numbers())
			after := marks(ctx, t, d)
			for _, mark := range before {
				if tc.strict && !slices.Contains(after, mark) {
					t.Errorf("the memory %s is gone", mark)
				}
			}
			// Those given back by a source and by one that ends may come late, and an
			// output of a connection that was lost may come again.
			v := o.Verdict
			v.Outputs.Doubled -= v.Repeated
			if tc.strict && !v.OKWithoutLate(2*prefetch) || o.Outputs.Lost+o.Outputs.Foreign > 0 {
				t.Errorf("sent %d, counted %d: %v", o.Sent, o.Counted, o.Problems)
			}
			noTraces(ctx, t, d.Flow, m, &pods[0])
		})
	}
}

// scaled and rolledOut change a Deployment.
func scaled(n int32) func(context.Context, *harness.DeploymentFlow) error {
	return func(ctx context.Context, d *harness.DeploymentFlow) error {
		return d.Change(ctx, func(d *appsv1.Deployment) { d.Spec.Replicas = &n })
	}
}

func rolledOut(ctx context.Context, d *harness.DeploymentFlow) error {
	return d.Change(ctx, func(d *appsv1.Deployment) {
		metav1.SetMetaDataAnnotation(&d.Spec.Template.ObjectMeta, "example.com/rolled", "out")
	})
}

// TestDeploymentDeleted deletes a Deployment while one of its pods is moved: the
// migration ends, and no pod is left.
func TestDeploymentDeleted(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	d := startDeployment(ctx, t, harness.WorkloadConfig{
		Name: "deleted", Replicas: 2, Work: 5 * time.Millisecond, Rate: 300, Producers: 4, Change: heavy})
	m := replaying(ctx, t, d.Flow)
	if err := lab.Client.Delete(ctx, d.Deployment); err != nil {
		t.Fatal(err)
	}
	m = follow(ctx, t, m, harness.Ended)
	t.Log(harness.Summary(m))
	settled(ctx, t, d.AllPods)
	if pods, err := d.AllPods(ctx); err != nil || len(pods) > 0 {
		t.Errorf("%d pods are left: %v", len(pods), err)
	}
	noTraces(ctx, t, d.Flow, m, &corev1.Pod{})
}
