package harness

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/load"
)

// StatefulFlow is a StatefulSet of counters, each with queues, load and judge of
// its own, and with a Service of its own beside the one of all.
type StatefulFlow struct {
	*Workload
	Set      *appsv1.StatefulSet
	Ordinals []*Flow
}

// StartStateful starts a StatefulSet, waits until all of it is ready, and starts
// the load on each of its counters.
func (l *Lab) StartStateful(ctx context.Context, cfg WorkloadConfig) (*StatefulFlow, error) {
	w := &Workload{WorkloadConfig: cfg, lab: l}
	s := &StatefulFlow{Workload: w, Set: w.statefulSet()}
	headless := w.service(s.Set.Spec.ServiceName, w.labels())
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	objects := []client.Object{headless}
	for i := range int(cfg.Replicas) {
		c := &Counter{
			CounterConfig: CounterConfig{Namespace: cfg.Namespace, Name: fmt.Sprintf("%s-%d", cfg.Name, i)},
			workload:      w, lab: l,
		}
		c.Queue, c.Outputs = c.Namespace+"."+c.Name+".in", c.Namespace+"."+c.Name+".out"
		c.Pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}}
		if err := l.declare(cfg.Queues, c); err != nil {
			return nil, err
		}
		objects = append(objects, w.service(c.Name, map[string]string{appsv1.StatefulSetPodNameLabel: c.Name}))
		s.Ordinals = append(s.Ordinals, &Flow{Counter: c})
	}
	if err := w.create(ctx, append(objects, s.Set)...); err != nil {
		return nil, err
	}
	if err := s.Steady(ctx); err != nil {
		return nil, err
	}
	for i, f := range s.Ordinals {
		pod, err := l.PodReady(ctx, client.ObjectKeyFromObject(f.Pod))
		if err != nil {
			return nil, err
		}
		begin, err := l.State(ctx, pod)
		if err != nil {
			return nil, err
		}
		f.Pod = pod
		s.Ordinals[i] = f.load(ctx, begin, FlowConfig{Rate: cfg.Rate, Producers: cfg.Producers})
	}
	return s, nil
}

// declare makes a counter's queues and exchange.
func (l *Lab) declare(kind load.Kind, c *Counter) error {
	return errors.Join(
		load.DeclareQueues(l.BrokerURL, kind, c.Queue, c.Outputs),
		load.DeclareExchange(l.BrokerURL, c.exchange(), c.Queue))
}

func (w *Workload) statefulSet() *appsv1.StatefulSet {
	policy := appsv1.ParallelPodManagement
	if w.Ordered {
		policy = appsv1.OrderedReadyPodManagement
	}
	return &appsv1.StatefulSet{ObjectMeta: w.meta(), Spec: appsv1.StatefulSetSpec{
		Replicas:             &w.Replicas,
		ServiceName:          w.Name + "-headless",
		PodManagementPolicy:  policy,
		VolumeClaimTemplates: w.Claims,
		Selector:             &metav1.LabelSelector{MatchLabels: w.labels()},
		Template: w.template(
			corev1.EnvVar{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{
				FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			corev1.EnvVar{Name: "QUEUE", Value: w.Namespace + ".$(POD_NAME).in"},
			corev1.EnvVar{Name: "OUTPUT_QUEUE", Value: w.Namespace + ".$(POD_NAME).out"}),
	}}
}

// Steady waits until all the pods that the StatefulSet wants are ready, and its
// controller has seen that.
func (s *StatefulFlow) Steady(ctx context.Context) error {
	return Until(ctx, s.lab, s.Set, &appsv1.StatefulSetList{}, func(set *appsv1.StatefulSet) (bool, error) {
		if set == nil {
			return false, fmt.Errorf("there is no StatefulSet %s", s.Name)
		}
		n := ptr.Deref(set.Spec.Replicas, 1)
		return set.Status.ObservedGeneration >= set.Generation && set.Status.Replicas == n && set.Status.AvailableReplicas == n, nil
	})
}

// Watch begins to watch the StatefulSet, see WatchOwner.
func (s *StatefulFlow) Watch(ctx context.Context) (*OwnerWatch, error) {
	var own []string
	for _, f := range s.Ordinals {
		own = append(own, f.Name)
	}
	return s.WatchOwner(ctx, &appsv1.StatefulSetList{}, own...)
}

// Close ends the load and removes everything.
func (s *StatefulFlow) Close(ctx context.Context) error {
	err := s.remove(ctx, s.Set, &appsv1.StatefulSetList{})
	for _, f := range s.Ordinals {
		f.stop()
		err = errors.Join(err, s.lab.undeclare(f.Counter))
	}
	return err
}

// stop ends the load, if it still runs.
func (f *Flow) stop() {
	if f.Generator != nil {
		f.Generator.Stop()
		f.Collector.Close()
	}
}

// undeclare removes what declare has made.
func (l *Lab) undeclare(c *Counter) error {
	return errors.Join(
		load.DeleteQueues(l.BrokerURL, c.Queue, c.Outputs),
		load.DeleteExchange(l.BrokerURL, c.exchange()))
}

// Scale changes how many pods the StatefulSet is to have, and waits until it has
// as many, and the others are gone.
func (s *StatefulFlow) Scale(ctx context.Context, n int32) error {
	set := &appsv1.StatefulSet{}
	if err := s.lab.Client.Get(ctx, s.Key(), set); err != nil {
		return err
	}
	old := set.DeepCopy()
	set.Spec.Replicas = &n
	if err := s.lab.Client.Patch(ctx, set, client.MergeFrom(old)); err != nil {
		return err
	}
	if err := s.Steady(ctx); err != nil {
		return err
	}
	pods, err := s.AllPods(ctx)
	for i := range pods {
		if pods[i].DeletionTimestamp != nil {
			err = errors.Join(err, Gone(ctx, s.lab, &pods[i], &corev1.PodList{}))
		}
	}
	return err
}
