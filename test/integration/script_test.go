package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// script stands in for the manager in a namespace of its own, whose pods are on a node
// of its own: what becomes of a migration is said beforehand.
type script struct {
	t               *testing.T
	namespace, node string

	mu      sync.Mutex
	ends    map[string]v1alpha1.MigrationPhase // by pod: where its migration stops
	gaps    map[string]bool                    // by pod: it is Sequential
	allowed time.Time                          // when the budget began to allow a gap
	begun   map[string]time.Time               // by pod
	done    []string                           // pods that have gone
}

func newScript(t *testing.T) *script {
	t.Helper()
	namespaces.Lock()
	namespaces.n++
	s := &script{
		t: t, namespace: fmt.Sprintf("script-%d", namespaces.n), node: fmt.Sprintf("scripted-%d", namespaces.n),
		ends: map[string]v1alpha1.MigrationPhase{}, gaps: map[string]bool{}, begun: map[string]time.Time{},
	}
	namespaces.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	s.must(kube.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}))
	// Of another architecture: no other test's pod is to go there.
	s.must(addNode(ctx, s.node, "arm64"))
	w, err := kube.Watch(ctx, &v1alpha1.StatefulMigrationList{}, client.InNamespace(s.namespace))
	s.must(err)
	var done sync.WaitGroup
	done.Go(func() {
		for event := range w.ResultChan() {
			if m, ok := event.Object.(*v1alpha1.StatefulMigration); ok && event.Type == watch.Added {
				done.Go(func() { s.run(ctx, m) })
			}
		}
	})
	t.Cleanup(func() {
		stop()
		w.Stop()
		done.Wait()
		s.must(kube.Delete(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.node}}))
	})
	return s
}

func (s *script) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// pod makes a running pod on the script's node.
func (s *script) pod(name string, change ...func(*corev1.Pod)) {
	s.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, Spec: podSpec()}
	pod.Spec.NodeName, pod.Spec.TerminationGracePeriodSeconds = s.node, ptr.To[int64](0)
	for _, f := range change {
		f(pod)
	}
	s.must(kube.Create(s.t.Context(), pod))
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	s.must(kube.Status().Update(s.t.Context(), pod))
}

// play says in which phase the migrations of a pod stop.
func (s *script) play(pod string, end v1alpha1.MigrationPhase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[pod] = end
}

func (s *script) sequential(pod string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps[pod] = true
}

// budget makes a PodDisruptionBudget for the one pod with a label, or changes it: whether
// it may go. The real controller of budgets acts on it. It is called from timers, too.
func (s *script) budget(app string, mayGo bool) {
	ctx := context.Background()
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: app}}
	b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	b.Spec.MinAvailable = ptr.To(intstr.FromInt32(1))
	if !mayGo {
		s.must(kube.Create(ctx, b))
		return
	}
	s.mu.Lock()
	s.allowed = time.Now()
	s.mu.Unlock()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"minAvailable":0}}`))
	if err := kube.Patch(ctx, b, patch); err != nil {
		s.t.Error(err)
	}
}

// before reports whether a pod was begun with before its budget allowed it.
func (s *script) before(pod string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun[pod].Before(s.allowed)
}

func (s *script) moved() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.done))
}

func (s *script) cordoned() bool {
	n := &corev1.Node{}
	s.must(kube.Get(s.t.Context(), client.ObjectKey{Name: s.node}, n))
	return n.Spec.Unschedulable
}

// run takes a migration through its phases. What the test has deleted meanwhile, or
// left behind at its end, is of no interest.
func (s *script) run(ctx context.Context, m *v1alpha1.StatefulMigration) {
	pod := m.Spec.SourcePod.Name
	s.mu.Lock()
	end, ok := s.ends[pod]
	if !m.Spec.DryRun {
		s.begun[pod] = time.Now()
	}
	m.Status.Strategy = map[bool]v1alpha1.Strategy{true: v1alpha1.StrategySequential, false: v1alpha1.StrategyShadow}[s.gaps[pod]]
	s.mu.Unlock()
	if !ok {
		end = v1alpha1.PhaseCompleted
	}
	m.Status.OriginNode, m.Status.SourceNode = s.node, s.node
	phases := []v1alpha1.MigrationPhase{v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing, end}
	switch {
	case m.Spec.DryRun && end != v1alpha1.PhaseFailed:
		phases = []v1alpha1.MigrationPhase{v1alpha1.PhasePending, v1alpha1.PhaseCompleted}
	case end == v1alpha1.PhaseFailed:
		phases = []v1alpha1.MigrationPhase{v1alpha1.PhasePending, v1alpha1.PhaseFailed}
		s.complain(m)
	case end == v1alpha1.PhaseReplaying:
		phases = phases[:3]
	}
	for i, p := range phases {
		now := metav1.NowMicro()
		if p == v1alpha1.PhaseCheckpointing {
			m.Status.StartedAt = &now
		}
		m.Status.Phase, m.Status.Lag = p, &v1alpha1.Lag{Messages: int64(100 - 20*i)}
		m.Status.PhaseTimes = append(m.Status.PhaseTimes, v1alpha1.PhaseTime{Phase: p, StartedAt: now})
		if p == v1alpha1.PhaseCompleted && !m.Spec.DryRun {
			gone := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: pod}}
			_ = kube.Delete(ctx, gone)
			s.mu.Lock()
			s.done = append(s.done, pod)
			s.mu.Unlock()
		}
		if kube.Status().Update(ctx, m) != nil {
			return
		}
	}
}

func (s *script) complain(m *v1alpha1.StatefulMigration) {
	why := metav1.Condition{
		Status: metav1.ConditionFalse, Reason: "NotEnoughDisk", Message: "the node has no room for the checkpoint", LastTransitionTime: metav1.Now(),
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionSucceeded} {
		why.Type = kind
		m.Status.Conditions = append(m.Status.Conditions, why)
	}
}
