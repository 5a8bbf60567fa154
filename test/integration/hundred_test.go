package integration

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/migration"
	limit "ms2m.dev/ms2m/internal/queue" // the package has a queue of its own
	"ms2m.dev/ms2m/sdk/handover"
)

// fleet is a world with many pods on many nodes, each of which is to move to the
// next node.
type fleet struct {
	*world
	nodes  []string
	limits limit.Limits
	pods   map[string]*corev1.Pod // the sources, by name
}

// newFleet makes nodes, and pods on them in turn.
func newFleet(t *testing.T, nodes, pods int, limits limit.Limits) *fleet {
	t.Helper()
	f := &fleet{world: newWorld(t), limits: limits, pods: map[string]*corev1.Pod{}}
	for i := range nodes {
		name := fmt.Sprintf("%s-node-%d", f.namespace, i)
		f.must(addNode(f.ctx, name, "amd64"))
		f.agent(name)
		f.nodes = append(f.nodes, name)
		t.Cleanup(func() {
			_ = kube.Delete(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		})
	}
	for i := range pods {
		name := fmt.Sprintf("pod-%03d", i)
		f.pods[name] = f.make(name, f.nodes[i%nodes])
	}
	f.eventually("the pods", func() bool {
		ready := 0
		for _, p := range f.world.pods() {
			if conditionOf(&p, corev1.PodReady) == corev1.ConditionTrue {
				ready++
			}
		}
		return ready == pods+1 // and the one that every world has
	})
	return f
}

// move makes the StatefulMigration of a pod, under the pod's name.
func (f *fleet) move(pod string, change ...func(*v1alpha1.StatefulMigration)) {
	f.t.Helper()
	next := f.nodes[(slices.Index(f.nodes, f.pods[pod].Spec.NodeName)+1)%len(f.nodes)]
	f.create(append([]func(*v1alpha1.StatefulMigration){func(m *v1alpha1.StatefulMigration) {
		m.Name, m.Spec.SourcePod.Name, m.Spec.TargetNode.Name = pod, pod, next
	}}, change...)...)
}

// managed starts a manager with the fleet's limits and a manager's usual policy.
func (f *fleet) managed(cfg *rest.Config) *manager {
	return f.startWith(cfg, nil, f.usual)
}

func (f *fleet) usual(r *controller.Reconciler) {
	r.Policy, r.Limits, r.Workers = migration.DefaultPolicy(), f.limits, 10
}

// all are the migrations as the cache has them.
func (f *fleet) all() []v1alpha1.StatefulMigration {
	f.t.Helper()
	var list v1alpha1.StatefulMigrationList
	f.must(seen.List(f.ctx, &list, client.InNamespace(f.namespace), client.UnsafeDisableDeepCopy)) // they are only read
	return list.Items
}

// complete waits until all are Completed. It gives up when nothing more ends, however
// long the whole takes on a machine that is busy with other things.
func (f *fleet) complete(n int) {
	f.t.Helper()
	done, since := -1, time.Now()
	for done < n {
		count := map[v1alpha1.MigrationPhase]int{}
		for _, m := range f.all() {
			count[m.Status.Phase]++
		}
		if completed := count[v1alpha1.PhaseCompleted]; completed > done {
			done, since = completed, time.Now()
		}
		if time.Since(since) > patience || count[v1alpha1.PhaseFailed] > 0 {
			f.t.Fatalf("%v of %d, and no more within %v\n%s", count, n, patience, f.dump())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// dump tells of all that have not ended well.
func (f *fleet) dump() string {
	var b strings.Builder
	for _, m := range f.all() {
		if m.Status.Phase == v1alpha1.PhaseCompleted {
			continue
		}
		fmt.Fprintf(&b, "%s: %s, queued %+v, started %v, %s → %s, epoch %d\n", m.Name, m.Status.Phase, m.Status.Queued, m.Status.StartedAt,
			m.Status.SourceNode, m.Status.TargetNode, m.Status.Epoch)
		for _, c := range slices.Concat(m.Status.Conditions, m.Status.Preflight) {
			if c.Reason != migration.ReasonPassed {
				fmt.Fprintf(&b, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
			}
		}
	}
	return b.String() + strings.Join(f.traces(), "\n")
}

// arrived fails the test unless each state is live on its next node, and is there once.
func (f *fleet) arrived() {
	f.t.Helper()
	there := map[types.UID]corev1.Pod{}
	for _, p := range f.world.pods() {
		there[p.UID] = p
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(there) != len(f.pods)+1 || len(f.instances) != len(there) {
		f.t.Errorf("%d pods and %d instances, want %d", len(there), len(f.instances), len(f.pods)+1)
	}
	for _, m := range f.all() {
		p, in := there[m.Status.TargetPodUID], f.instances[string(m.Status.TargetPodUID)]
		if in == nil || in.State != handover.Live || in.Incarnation != string(f.pods[m.Name].UID) || p.Spec.NodeName != m.Spec.TargetNode.Name {
			f.t.Errorf("%s is %+v on %q", m.Name, in, p.Spec.NodeName)
		}
		if n := f.commits[string(m.UID)]; n != 1 {
			f.t.Errorf("%d commits of %s", n, m.Name)
		}
	}
}

// oracle watches the limits: every state that the API server has ever had passes by.
type oracle struct {
	most, mostOnNode int
	queued           map[string]bool // by name
	order            []string        // in which they began
	events           int
	wrong            []string
	end              func() oracle
}

func (f *fleet) watchLimits() *oracle {
	f.t.Helper()
	w, err := kube.Watch(f.ctx, &v1alpha1.StatefulMigrationList{}, client.InNamespace(f.namespace))
	f.must(err)
	o := &oracle{queued: map[string]bool{}}
	var done sync.WaitGroup
	var ending atomic.Bool
	done.Go(func() {
		active := map[string]*v1alpha1.StatefulMigration{}
		for e := range w.ResultChan() {
			m, ok := e.Object.(*v1alpha1.StatefulMigration)
			if !ok && ending.Load() {
				return
			}
			if !ok {
				o.wrong = append(o.wrong, fmt.Sprintf("the watch has ended: %+v", e.Object))
				return
			}
			o.see(active, e.Type, m, f.limits)
		}
	})
	o.end = func() oracle { ending.Store(true); w.Stop(); done.Wait(); return *o }
	f.t.Cleanup(w.Stop)
	return o
}

func (o *oracle) see(active map[string]*v1alpha1.StatefulMigration, kind watch.EventType, m *v1alpha1.StatefulMigration, limits limit.Limits) {
	o.events++
	if m.Status.Queued != nil {
		o.queued[m.Name] = true
	}
	if active[m.Name] == nil && m.Status.StartedAt != nil && m.Status.EndedAt == nil {
		o.order = append(o.order, m.Name)
	}
	delete(active, m.Name)
	if kind != watch.Deleted && m.Status.StartedAt != nil && m.Status.EndedAt == nil {
		active[m.Name] = m
	}
	on := map[string]int{}
	for _, a := range active {
		on[a.Status.SourceNode]++
		on[a.Status.TargetNode]++
	}
	o.most, o.mostOnNode = max(o.most, len(active)), max(o.mostOnNode, slices.Max(append(slices.Collect(maps.Values(on)), 0)))
	if len(active) > limits.Migrations || o.mostOnNode > limits.PerNode {
		o.wrong = append(o.wrong, fmt.Sprintf("%v are active, on %v", slices.Sorted(maps.Keys(active)), on))
	}
}

// load is what the migrations of a run have cost, each on average.
type load struct{ requests, writes, reconciles, adds, updates float64 }

// TestHundred moves a hundred pods at once, after ten: all arrive, the limits are
// kept at every moment, and each migration costs what it costs among ten. It
// has the process to itself, since controller-runtime counts for the whole of it.
func TestHundred(t *testing.T) {
	few, many := crowd(t, 10), crowd(t, 100)
	t.Logf("per migration        of 10   of 100")
	for _, row := range []struct {
		what      string
		few, many float64
	}{
		{"API requests", few.requests, many.requests},
		{"of them writes", few.writes, many.writes},
		{"reconciles", few.reconciles, many.reconciles},
		{"work queue adds", few.adds, many.adds},
		{"updates of the object", few.updates, many.updates},
	} {
		t.Logf("%-20s %6.1f  %6.1f", row.what, row.few, row.many)
		// A queue costs each who waits in it a few looks at where it is by now.
		if row.many > row.few*1.3+5 {
			t.Errorf("%s: %.1f for each of 100, %.1f for each of 10", row.what, row.many, row.few)
		}
	}
}

func crowd(t *testing.T, n int) load {
	f := newFleet(t, 6, n, limit.Limits{Migrations: 5, PerNode: 2})
	counted := &requests{byMethod: map[string]int{}}
	own := rest.CopyConfig(cfg)
	own.Wrap(counted.wrap)
	m := f.managed(own)
	oracle := f.watchLimits()
	adds, reconciles := metric(t, "workqueue_adds_total"), metric(t, "controller_runtime_reconcile_total")
	before := counted.sum()
	began := time.Now()
	for pod := range f.pods {
		f.move(pod)
	}
	f.complete(n)
	took := time.Since(began)
	f.eventually("the finalizers to go", func() bool {
		return !slices.ContainsFunc(f.all(), func(m v1alpha1.StatefulMigration) bool { return len(m.Finalizers) > 0 })
	})
	m.end()
	o := oracle.end()
	if len(o.wrong) > 0 {
		t.Errorf("limits %+v: %s", f.limits, strings.Join(o.wrong, "\n"))
	}
	if o.most != f.limits.Migrations || o.mostOnNode != f.limits.PerNode || len(o.queued) < n-2*f.limits.Migrations {
		t.Errorf("at most %d were active, %d on a node; %d have queued", o.most, o.mostOnNode, len(o.queued))
	}
	f.arrived()
	f.clean()
	if depth := metric(t, "workqueue_depth"); depth != 0 {
		t.Errorf("%v are still in the work queue", depth)
	}
	after := counted.sum()
	per := func(count float64) float64 { return count / float64(n) }
	t.Logf("%d migrations took %v; at most %d active, %d on a node; %d queued; requests %v", n, took.Round(time.Millisecond), o.most, o.mostOnNode, len(o.queued), counted.byMethod)
	return load{
		requests: per(after.all - before.all), writes: per(after.writes - before.writes),
		adds:       per(metric(t, "workqueue_adds_total") - adds),
		reconciles: per(metric(t, "controller_runtime_reconcile_total") - reconciles),
		updates:    per(float64(o.events)),
	}
}

// requests counts what a manager asks of the API server.
type requests struct {
	mu       sync.Mutex
	byMethod map[string]int
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		r.mu.Lock()
		r.byMethod[req.Method]++
		r.mu.Unlock()
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var _ transport.WrapperFunc = (&requests{}).wrap

type counted struct{ all, writes float64 }

func (r *requests) sum() counted {
	r.mu.Lock()
	defer r.mu.Unlock()
	var c counted
	for method, n := range r.byMethod {
		c.all += float64(n)
		if method != http.MethodGet {
			c.writes += float64(n)
		}
	}
	return c
}

// metric is the sum of a metric of the controller, over all its labels.
func metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0 // also if nothing has been counted yet
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}
