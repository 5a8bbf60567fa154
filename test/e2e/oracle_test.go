package e2e

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// readPath is what the readers read of a counter.
const readPath = "/count"

// TestAtRest judges workloads that nobody moves: neither judges nor watches nor
// readers find anything. What they find in other tests is the migration's doing.
func TestAtRest(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	set := startStateful(ctx, t, harness.WorkloadConfig{Name: "rest-set"})
	d := startDeployment(ctx, t, harness.WorkloadConfig{Name: "rest-deployment"})
	watchedSet, err := set.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	watched, err := d.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	reader := read(ctx, t, set.Ordinals[0])
	for _, f := range set.Ordinals {
		if err := f.Counted(ctx, 500); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Counted(ctx, 500); err != nil {
		t.Fatal(err)
	}
	reads := reader.Finish()
	t.Log(reads)
	if len(reads.Errors) > 0 || reads.Stale > 0 || reads.Number < 50 { // of several hundred, on a machine that has nothing else to do
		t.Errorf("%v", reads)
	}
	undisturbed(ctx, t, watchedSet, 3, false)
	undisturbed(ctx, t, watched, 3, false)
	finishAll(ctx, t, set, load.Verdict.OK)
	o, err := d.Finish(ctx, d.Pod)
	if err != nil {
		t.Fatal(err)
	}
	judged(t, o)
	if len(o.Others) != 3 {
		t.Errorf("judged by %d counters", len(o.Others))
	}
}

// TestLostReplica deletes pods as one does who has no MS2M, and asserts that what
// watches and judges notices: the dip, the memory that is gone, the reads that go back.
func TestLostReplica(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	set := startStateful(ctx, t, harness.WorkloadConfig{Name: "lost-set"})
	d := startDeployment(ctx, t, harness.WorkloadConfig{Name: "lost-deployment"})
	watchedSet, err := set.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	watched, err := d.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := set.Ordinals[0]
	reader := read(ctx, t, first)
	if err := first.Counted(ctx, 200); err != nil {
		t.Fatal(err)
	}
	if err := d.Counted(ctx, 200); err != nil {
		t.Fatal(err)
	}
	for _, pod := range []*corev1.Pod{first.Pod, d.Pod} {
		if err := lab.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}); err != nil {
			t.Fatal(err)
		}
		if err := harness.Until(ctx, lab, pod, &corev1.PodList{}, func(p *corev1.Pod) (bool, error) {
			return p == nil || p.UID != pod.UID, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := harness.Until(ctx, lab, set.Set, &appsv1.StatefulSetList{}, func(s *appsv1.StatefulSet) (bool, error) {
		return s.Status.ReadyReplicas == 3, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Steady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := first.Counted(ctx, first.Collector.Count()+100); err != nil {
		t.Fatal(err)
	}
	reads := reader.Finish()
	t.Log(reads)
	if len(reads.Errors) == 0 || reads.Stale == 0 {
		t.Errorf("the reader saw nothing")
	}
	for name, w := range map[string]*harness.OwnerWatch{"StatefulSet": watchedSet, "Deployment": watched} {
		v, err := w.Finish(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: ready %v; endpoints %v; healthy %v", name, v.Ready, v.Endpoints, v.Healthy)
		if v.Ready.Min() != 2 || v.Endpoints.Min() != 2 || v.Healthy.Min() != 2 || len(v.Disturbed()) != 1 {
			t.Errorf("%s: the dip was not seen; %v", name, v.Disturbed())
		}
	}
	pod, err := lab.PodReady(ctx, keyOf(first.Pod))
	if err != nil {
		t.Fatal(err)
	}
	for name, finish := range map[string]func() (harness.Outcome, error){
		"StatefulSet": func() (harness.Outcome, error) { return first.Finish(ctx, pod) },
		"Deployment":  func() (harness.Outcome, error) { return d.Finish(ctx, pod) },
	} {
		o, err := finish()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s", name, o.Numbers())
		if o.State.Lost == 0 || o.OK() {
			t.Errorf("%s: the lost memory was not noticed", name)
		}
	}
}
