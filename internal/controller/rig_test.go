package controller_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/mock/gomock"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

const (
	uid       = "11111111-2222-3333-4444-555555555555"
	sourceUID = "source-uid"
	targetUID = "target-uid"
)

var key = client.ObjectKey{Namespace: "ns", Name: "move"}

// rig is a reconciler whose outside world is mocked.
type rig struct {
	*controller.Reconciler
	t        *testing.T
	clock    *testclock.FakePassiveClock
	events   *events.FakeRecorder
	kubelet  *MockCheckpointer
	registry *MockRegistry
	access   *MockAccess
	brokers  *MockBrokers
	broker   *MockBroker
	wakes    workqueue.TypedRateLimitingInterface[ctrl.Request]

	mu    sync.Mutex
	heard map[string]*broker.Heard
}

// newRig makes a rig with a migration in a phase, its source pod, and whatever else.
func newRig(t *testing.T, m *v1alpha1.StatefulMigration, funcs interceptor.Funcs, more ...client.Object) *rig {
	t.Helper()
	m.Spec.BackoffLimit = ptr.To[int32](1)
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(scheme).
		WithStatusSubresource(&v1alpha1.StatefulMigration{}, &v1alpha1.CheckpointTransfer{}, &corev1.Pod{}).
		WithObjects(append(more, m, pod("counter", sourceUID, "node-a"))...).
		WithInterceptorFuncs(funcs).Build()
	mocks := gomock.NewController(t)
	r := &rig{
		t:     t,
		clock: testclock.NewFakePassiveClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), events: events.NewFakeRecorder(100),
		kubelet: NewMockCheckpointer(mocks), registry: NewMockRegistry(mocks), access: NewMockAccess(mocks),
		brokers: NewMockBrokers(mocks), broker: NewMockBroker(mocks), heard: map[string]*broker.Heard{},
	}
	r.Reconciler = &controller.Reconciler{
		Client: api, Live: api, Recorder: r.events, Clock: r.clock, Policy: migration.DefaultPolicy(),
		Kubelet: r.kubelet, Registry: r.registry, Access: r.access, Brokers: r.brokers, Sessions: controller.NewSessions(),
		AgentNamespace: "ms2m-system", Workers: 1,
	}
	r.wakes = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ctrl.Request]())
	t.Cleanup(r.wakes.ShutDown)
	r.Sessions.Queue(r.wakes)
	r.access.EXPECT().Allowed(gomock.Any(), gomock.Any()).Return(true, nil).AnyTimes()
	r.registry.EXPECT().Writable(gomock.Any(), "registry/checkpoints").Return(nil).AnyTimes()
	r.broker.EXPECT().Generation().Return(int64(1)).AnyTimes()
	r.broker.EXPECT().Heard(gomock.Any()).DoAndReturn(func(pod string) (broker.Heard, bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if h := r.heard[pod]; h != nil {
			return *h, true
		}
		return broker.Heard{}, false
	}).AnyTimes()
	r.broker.EXPECT().ReadDecision(gomock.Any(), uid).Return(handover.Undecided, nil).AnyTimes()
	return r
}

// connected lets the rig's broker be had.
func (r *rig) connected() *rig {
	r.brokers.EXPECT().Acquire("amqp://broker").Return(r.broker).AnyTimes()
	return r
}

// says lets an instance report its state.
func (r *rig) says(pod string, s handover.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.PodUID, s.Migration, s.Queue, s.Identity = pod, uid, "orders", handover.IdentityMessageID
	h := r.heard[pod]
	if h == nil {
		h = &broker.Heard{Answers: map[handover.CommandKind]broker.Answer{}}
		r.heard[pod] = h
	}
	h.Last, h.At = handover.Report{Version: handover.Version, Status: s}, r.clock.Now()
}

// expectSend expects a command, and lets f answer it.
func (r *rig) expectSend(kind handover.CommandKind, f func(handover.Command)) *gomock.Call {
	match := gomock.Cond(func(c handover.Command) bool { return c.Kind == kind })
	return r.broker.EXPECT().Send(gomock.Any(), match, gomock.Any()).DoAndReturn(
		func(_ context.Context, c handover.Command, _ string) error {
			if f != nil {
				f(c)
			}
			return nil
		})
}

func (r *rig) reconcile() ctrl.Result {
	r.t.Helper()
	result, err := r.Reconcile(r.t.Context(), ctrl.Request{NamespacedName: key})
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// woken reconciles when the kubelet's answer has come.
func (r *rig) woken() ctrl.Result {
	r.t.Helper()
	req, _ := r.wakes.Get()
	if req.NamespacedName != key {
		r.t.Fatalf("%v was woken", req)
	}
	r.wakes.Done(req)
	return r.reconcile()
}

// attends lets the agent say something of the attempt's checkpoint.
func (r *rig) attends(kind string, status metav1.ConditionStatus) {
	r.t.Helper()
	var legs v1alpha1.CheckpointTransferList
	if err := r.Client.List(r.t.Context(), &legs); err != nil {
		r.t.Fatal(err)
	}
	for i := range legs.Items {
		l := &legs.Items[i]
		if l.Spec.Direction != v1alpha1.TransferThaw || l.Spec.Attempt != r.get().Status.Attempt {
			continue
		}
		meta.SetStatusCondition(&l.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: v1alpha1.TransferReasonDone})
		if err := r.Client.Status().Update(r.t.Context(), l); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	r.t.Fatal("no agent is asked to attend")
}

func (r *rig) get() *v1alpha1.StatefulMigration {
	r.t.Helper()
	m := &v1alpha1.StatefulMigration{}
	if err := r.Client.Get(r.t.Context(), key, m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rig) later(d time.Duration) { r.clock.SetTime(r.clock.Now().Add(d)) }

// object is a migration in a phase that a manager before has brought it to.
func object(phase v1alpha1.MigrationPhase, change ...func(*v1alpha1.StatefulMigration)) *v1alpha1.StatefulMigration {
	m := &v1alpha1.StatefulMigration{
		ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace, UID: uid, Finalizers: []string{v1alpha1.FinalizerMigration}},
		Spec: v1alpha1.StatefulMigrationSpec{
			SourcePod:                 v1alpha1.PodReference{Name: "counter"},
			TargetNode:                &v1alpha1.TargetNode{Name: "node-b"},
			CheckpointImageRepository: "registry/checkpoints",
			ReplayCutoffSeconds:       10,
			MessageQueueConfig:        v1alpha1.MessageQueueConfig{BrokerURL: "amqp://broker", QueueName: "orders"},
			Deadlines: v1alpha1.Deadlines{
				PendingSeconds: 60, CheckpointSeconds: 60, TransferSeconds: 60, RestoreSeconds: 60, ReplaySeconds: 600, FinalizeSeconds: 60,
			},
		},
		Status: v1alpha1.StatefulMigrationStatus{
			Phase: phase, SourcePodName: "counter", SourcePodUID: sourceUID, SourceNode: "node-a", Container: "main",
			Strategy: v1alpha1.StrategyShadow, Hop: 1,
		},
	}
	for _, f := range change {
		f(m)
	}
	return m
}

// buffered is after holds and replay queue stand.
func buffered(m *v1alpha1.StatefulMigration) { condition(m, v1alpha1.ConditionBuffered) }

func condition(m *v1alpha1.StatefulMigration, kind string) {
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Done"})
}

func pod(name, uid, node string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: key.Namespace},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "counter"}}},
		Status: corev1.PodStatus{
			Phase:             corev1.PodRunning,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		},
	}
	p.SetUID(types.UID(uid))
	return p
}

// installation is what MS2M needs on the cluster.
func installation() []client.Object {
	out := []client.Object{&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RuntimeClassName}}}
	for _, name := range []string{"node-a", "node-b"} {
		agent := pod("agent-"+name, "agent-"+name, name)
		agent.Namespace = "ms2m-system"
		agent.Labels = map[string]string{"app.kubernetes.io/name": v1alpha1.AgentName}
		agent.Annotations = map[string]string{v1alpha1.AnnotationNodeFacts: `{"kernel":"6.12.0","criu":"4.1.1","archiveFreeBytes":1000000000,"stageFreeBytes":1000000000}`}
		out = append(out, agent, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
		})
	}
	return out
}
