package integration

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/failpoint"
	limit "ms2m.dev/ms2m/internal/queue" // the package has a queue of its own
)

// queuedOf is how the migration of a pod queues; nil: it does not.
func (f *fleet) queuedOf(name string) *v1alpha1.Queued {
	f.t.Helper()
	if m := f.get(name); m != nil {
		return m.Status.Queued
	}
	return nil
}

// blockPushes keeps every push from ending until the test lets them.
func (f *fleet) blockPushes() (release func()) {
	var open atomic.Bool
	f.mu.Lock()
	f.transfer["Push"] = func() *outcome {
		if open.Load() {
			return nil
		}
		return never()
	}
	f.mu.Unlock()
	return func() { open.Store(true) }
}

// TestQueue fills the cluster and a node, looks at what those who wait are told,
// cancels one of them, and lets the others go on.
func TestQueue(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 4, 8, limit.Limits{Migrations: 3, PerNode: 2})
	before := f.inventory("")
	release := f.blockPushes()
	oracle := f.watchLimits()
	f.managed(cfg)
	active := func(pod string) {
		t.Helper()
		f.eventually(pod+" to be active", func() bool { return f.get(pod).Status.Phase == v1alpha1.PhaseTransferring })
	}
	queues := func(pod, reason, message string, ahead int32) {
		t.Helper()
		f.eventually(pod+" to queue", func() bool { return f.queuedOf(pod) != nil })
		q := f.queuedOf(pod)
		if q.Reason != reason || q.Ahead != ahead || !strings.Contains(q.Message, message) {
			t.Errorf("%s: %+v, want %s, %q, %d ahead", pod, q, reason, message, ahead)
		}
		if m := f.get(pod); m.Status.Phase != v1alpha1.PhasePending || m.Status.StartedAt != nil {
			t.Errorf("%s: phase %s, started %v", pod, m.Status.Phase, m.Status.StartedAt)
		}
	}
	// Pods 0 and 4 go from node 0 to node 1, which is full then.
	f.move("pod-000")
	active("pod-000")
	f.move("pod-004")
	active("pod-004")
	f.move("pod-001") // from node 1
	queues("pod-001", "MaxMigrationsPerNode", `the node "`+f.nodes[1]+`"`, 0)
	f.move("pod-002") // from node 2 to node 3: nothing stands against it
	active("pod-002")
	f.move("pod-006") // the same way, but the cluster is full
	queues("pod-006", "MaxMigrations", "3 migrations are active", 1)

	// One that queues is cancelled: nothing of it was ever there.
	f.must(kube.Delete(f.ctx, f.get("pod-006")))
	f.eventually("it to go", func() bool { return f.get("pod-006") == nil })
	// One whose pod goes while it queues does not wait to be told.
	f.move("pod-007")
	queues("pod-007", "MaxMigrationsPerNode", `the node "`+f.nodes[0]+`"`, 1)
	f.must(kube.Delete(f.ctx, f.pods["pod-007"], client.GracePeriodSeconds(0)))
	f.eventually("it to fail", func() bool { return f.get("pod-007").Status.Phase == v1alpha1.PhaseFailed })

	release()
	for _, pod := range []string{"pod-000", "pod-004", "pod-001", "pod-002"} {
		f.eventually(pod+" to arrive", func() bool { return f.get(pod).Status.Phase == v1alpha1.PhaseCompleted })
	}
	if o := oracle.end(); len(o.wrong) > 0 || slices.Index(o.order, "pod-002") > slices.Index(o.order, "pod-001") {
		t.Errorf("they began in the order %v; %v", o.order, o.wrong)
	}
	f.clean()
	if after := f.inventory(""); len(after) != len(before)-2 { // the pod that was deleted, and its instance
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// TestQueueAcrossRestarts ends the manager again and again while many move and
// many more wait: the next one counts the same.
func TestQueueAcrossRestarts(t *testing.T) {
	t.Parallel()
	const pods = 14
	f := newFleet(t, 4, pods, limit.Limits{Migrations: 3, PerNode: 2})
	oracle := f.watchLimits()
	for pod := range f.pods {
		f.move(pod)
	}
	for life := range 4 { // each a little longer
		dead := make(chan struct{})
		m := f.startWith(cfg, func(e failpoint.Effect) bool {
			if e.N == 60*(life+1) && e.Side == failpoint.After {
				close(dead)
				return true
			}
			return false
		}, f.usual)
		select {
		case <-dead:
		case <-time.After(patience):
			t.Fatalf("life %d does not end\n%s", life, f.dump())
		}
		m.end()
	}
	f.managed(cfg)
	f.complete(pods)
	f.eventually("the finalizers to go", func() bool {
		return !slices.ContainsFunc(f.all(), func(m v1alpha1.StatefulMigration) bool { return len(m.Finalizers) > 0 })
	})
	if o := oracle.end(); len(o.wrong) > 0 || o.most != 3 || len(o.order) != pods {
		t.Errorf("at most %d were active, %d began; %v", o.most, len(o.order), o.wrong)
	}
	f.arrived()
	f.clean()
}

// TestSamePod gives the same pod to several migrations at once, and a copy in the
// making to another: one moves it, the others are told why they do not.
func TestSamePod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mu.Lock()
	stuck[v1alpha1.PhaseReplaying](w)
	w.mu.Unlock()
	w.start(nil, func(r *controller.Reconciler) {
		r.Workers, r.Limits = 4, limit.Limits{Migrations: 5, PerNode: 2}
		r.Policy.Lease = 3 * time.Second // so that the copy is asked often
	})
	names := []string{"one", "two", "three", "four"}
	for _, name := range names {
		w.create(func(m *v1alpha1.StatefulMigration) { m.Name = name })
	}
	active := func() (names []string) {
		var list v1alpha1.StatefulMigrationList
		w.must(kube.List(context.Background(), &list, client.InNamespace(w.namespace)))
		for _, m := range list.Items {
			if m.Status.StartedAt != nil {
				names = append(names, m.Name)
			}
		}
		return names
	}
	var first *v1alpha1.StatefulMigration
	w.eventually("a copy that runs", func() bool {
		if a := active(); len(a) == 1 {
			first = w.get(a[0])
		}
		return first != nil && first.Status.Phase == v1alpha1.PhaseReplaying
	})
	w.create(func(m *v1alpha1.StatefulMigration) {
		m.Name, m.Spec.SourcePod.Name, m.Spec.TargetNode.Name = "of-the-copy", first.Status.TargetPodName, nodeA
		m.Spec.Deadlines.PendingSeconds = 3
	})
	told := func(name string) bool {
		for _, c := range w.get(name).Status.Preflight {
			if c.Type == "NoOtherMigration" && c.Reason == "OtherMigration" && strings.Contains(c.Message, `"`+first.Name+`"`) {
				return true
			}
		}
		return false
	}
	for _, name := range append(names, "of-the-copy") {
		if name != first.Name {
			w.eventually(name+" to be told", func() bool { return told(name) })
		}
	}
	w.eventually("the one of the copy to give up", func() bool { return w.get("of-the-copy").Status.Phase == v1alpha1.PhaseFailed })
	w.mu.Lock()
	for _, in := range w.instances {
		in.Behind = 0
	}
	w.mu.Unlock()
	w.eventually("the first to complete", func() bool { return w.get(first.Name).Status.Phase == v1alpha1.PhaseCompleted })
	for _, name := range names { // the pod is gone
		if name != first.Name {
			w.eventually(name+" to fail", func() bool { return w.get(name).Status.Phase == v1alpha1.PhaseFailed })
		}
	}
	if a := active(); len(a) != 1 {
		t.Errorf("%v were let in", a)
	}
	w.moved(w.get(first.Name))
	w.clean()
}
