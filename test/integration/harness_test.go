package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/failpoint"
	"ms2m.dev/ms2m/internal/migration"
)

// world is one test's namespace with a source pod, its data plane, and the
// managers that come and go.
type world struct {
	*plane
	t         *testing.T
	ctx       context.Context
	kind      kind
	namespace string
	source    *corev1.Pod
	state     string               // the incarnation of the process that is moved
	siblings  map[string]types.UID // by name: the other pods of the source's owner
}

const (
	labelName = "app.kubernetes.io/name"
	nodeFacts = `{"kernel":"6.12.0","criu":"4.1.1","archiveFreeBytes":10000000000,"stageFreeBytes":10000000000}`
)

var namespaces struct {
	sync.Mutex
	n int
}

// newWorld makes a namespace in which the pod "counter" runs on node-a.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, standalone)
}

// newWorldOf makes a namespace in which pods of a kind run on node-a.
func newWorldOf(t *testing.T, k kind) *world {
	t.Helper()
	namespaces.Lock()
	namespaces.n++
	w := &world{plane: newPlane(), t: t, ctx: t.Context(), kind: k, namespace: fmt.Sprintf("test-%d", namespaces.n)}
	namespaces.Unlock()
	w.must(kube.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}))
	w.agent(nodeA)
	w.agent(nodeB)
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { nodes{plane: w.plane, namespace: w.namespace}.run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
	w.deploy()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// agent makes the node agent of a node, which is ready.
func (w *world) agent(node string) {
	w.t.Helper()
	agent := w.make("agent-"+node, node, func(p *corev1.Pod) {
		p.Labels = map[string]string{labelName: v1alpha1.AgentName}
		p.Annotations = map[string]string{v1alpha1.AnnotationNodeFacts: nodeFacts}
	})
	running(agent)
	agent.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	w.must(kube.Status().Update(w.ctx, agent))
}

// make makes a pod on a node.
func (w *world) make(name, node string, change ...func(*corev1.Pod)) *corev1.Pod {
	w.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec:       podSpec(),
	}
	pod.Spec.NodeName = node
	for _, f := range change {
		f(pod)
	}
	w.must(kube.Create(w.ctx, pod))
	return pod
}

// pod makes a pod on node-a, and waits until it runs.
func (w *world) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	w.t.Helper()
	pod := w.make(name, nodeA, change...)
	w.eventually("the pod "+name, func() bool {
		w.must(kube.Get(w.ctx, client.ObjectKeyFromObject(pod), pod))
		return conditionOf(pod, corev1.PodReady) == corev1.ConditionTrue
	})
	return pod
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{
		AutomountServiceAccountToken: ptr.To(false),
		Containers:                   []corev1.Container{{Name: "main", Image: "counter"}},
	}
}

// migration is a StatefulMigration of the source to node-b, not yet created.
func (w *world) migration(change ...func(*v1alpha1.StatefulMigration)) *v1alpha1.StatefulMigration {
	m := &v1alpha1.StatefulMigration{
		ObjectMeta: metav1.ObjectMeta{Name: "move", Namespace: w.namespace},
		Spec: v1alpha1.StatefulMigrationSpec{
			SourcePod:                 v1alpha1.PodReference{Name: w.source.Name},
			Strategy:                  w.kind.strategy,
			TargetNode:                &v1alpha1.TargetNode{Name: nodeB},
			CheckpointImageRepository: "registry.example.com/ms2m/checkpoints",
			MessageQueueConfig:        v1alpha1.MessageQueueConfig{BrokerURL: "amqp://broker.example.com", QueueName: queue},
		},
	}
	for _, f := range change {
		f(m)
	}
	return m
}

func (w *world) create(change ...func(*v1alpha1.StatefulMigration)) *v1alpha1.StatefulMigration {
	w.t.Helper()
	m := w.migration(change...)
	w.must(kube.Create(w.ctx, m))
	return m
}

// get reads the migration; nil: it is gone.
func (w *world) get(name string) *v1alpha1.StatefulMigration {
	w.t.Helper()
	m := &v1alpha1.StatefulMigration{}
	err := kube.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, m)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return m
}

// patience is for a machine that is busy with other things.
const patience = 2 * time.Minute

// eventually waits until something holds.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within %v: %s\n%s", patience, what, w.describe())
		}
	}
}

func (w *world) describe() string {
	var b strings.Builder
	if m := w.get("move"); m != nil {
		fmt.Fprintf(&b, "phase %s hop %d attempt %d epoch %d, %s → %s (%s), placement %+v\n", m.Status.Phase, m.Status.Hop, m.Status.Attempt,
			m.Status.Epoch, m.Status.SourcePodName, m.Status.TargetPodName, m.Status.TargetPodUID, m.Status.Placement)
		for _, c := range slices.Concat(m.Status.Conditions, m.Status.Preflight) {
			if c.Reason != migration.ReasonPassed {
				fmt.Fprintf(&b, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
			}
		}
	}
	for _, p := range w.pods() {
		fmt.Fprintf(&b, "  pod %s %s on %q, %s, gates %v, labels %v, conditions %v\n", p.Name, p.UID, p.Spec.NodeName, p.Status.Phase, p.Spec.SchedulingGates, p.Labels, p.Status.Conditions)
	}
	w.mu.Lock()
	for pod, in := range w.instances {
		fmt.Fprintf(&b, "  instance %s: %s attempt %d epoch %d %s\n", pod, in.State, in.Attempt, in.Epoch, in.Decision)
	}
	w.mu.Unlock()
	return b.String() + strings.Join(w.traces(), "\n")
}

// phase waits for a phase, or one beyond it.
func (w *world) phase(want v1alpha1.MigrationPhase) *v1alpha1.StatefulMigration {
	w.t.Helper()
	w.eventually("phase "+string(want), func() bool { return w.see().Status.Phase == want })
	return w.get("move")
}

// see is the migration as the cache has it, which costs the API server nothing:
// what is waited for comes there, too.
func (w *world) see() *v1alpha1.StatefulMigration {
	m := &v1alpha1.StatefulMigration{}
	if err := seen.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "move"}, m); !apierrors.IsNotFound(err) {
		w.must(err)
	}
	return m
}

// manager is one process of the manager.
type manager struct {
	*failpoint.Points
	stop  func()
	leave func() // the broker
	done  chan error
}

// policy is quick.
func policy() migration.Policy {
	p := migration.DefaultPolicy()
	p.Poll, p.Knock, p.Resend = 50*time.Millisecond, 20*time.Millisecond, 200*time.Millisecond
	p.AttemptPause, p.StatusEvery, p.Trend = 10*time.Millisecond, 50*time.Millisecond, 200*time.Millisecond
	p.Patience, p.HopPause = 3*time.Second, 200*time.Millisecond
	return p
}

// start starts a manager for the world's namespace, which dies where hit says; nil:
// nowhere.
func (w *world) start(hit func(failpoint.Effect) bool, change ...func(*controller.Reconciler)) *manager {
	w.t.Helper()
	return w.startWith(cfg, hit, change...)
}

// startWith starts a manager that reaches the API server in its own way.
func (w *world) startWith(cfg *rest.Config, hit func(failpoint.Effect) bool, change ...func(*controller.Reconciler)) *manager {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	if hit == nil {
		hit = func(failpoint.Effect) bool { return false }
	}
	m := &manager{Points: failpoint.New(hit, func(failpoint.Effect) { stop() }), stop: stop, done: make(chan error, 1)}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:  scheme,
		Metrics: server.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}}},
		NewClient: func(c *rest.Config, o client.Options) (client.Client, error) {
			inner, err := client.New(c, o)
			if err != nil {
				return nil, err
			}
			return m.API(inner), nil
		},
		// What the API server offers is the same for all.
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return kube.RESTMapper(), nil },
		Controller:     config.Controller{SkipNameValidation: ptr.To(true)},
	})
	w.must(err)
	sessions := controller.NewSessions()
	at := w.enter(sessions.Wake)
	m.leave = at.leave
	r := &controller.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: &events.FakeRecorder{}, // it keeps nothing: a channel that nobody reads would hold the manager up
		Clock: clock.RealClock{}, Policy: policy(),
		Kubelet: m.Kubelet(at), Registry: m.Registry(repository{at}), Brokers: m.Brokers(at), Access: everything{},
		Sessions: sessions, AgentNamespace: w.namespace, Workers: 2,
	}
	for _, f := range change {
		f(r)
	}
	w.must(r.SetupWithManager(ctx, mgr))
	go func() { m.done <- mgr.Start(ctx) }()
	w.t.Cleanup(m.end)
	return m
}

// everything is allowed to a manager: it is the administrator.
type everything struct{}

func (everything) Allowed(context.Context, authorizationv1.ResourceAttributes) (bool, error) {
	return true, nil
}

// end ends a manager, and waits. What it ends with is of no interest: it is cut off
// in the middle of things.
func (m *manager) end() {
	m.Kill()
	m.stop()
	m.leave()
	if _, ok := <-m.done; ok {
		close(m.done)
	}
}
