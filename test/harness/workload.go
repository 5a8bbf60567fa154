package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/load"
)

// WorkloadConfig says how the counters of a StatefulSet or Deployment run.
type WorkloadConfig struct {
	Namespace, Name string
	Replicas        int32
	Work            time.Duration // time that each message takes
	Prefetch        int           // messages in flight; default: the library's
	Queues          load.Kind     // default classic
	Rate            float64       // messages per second, of each queue
	Producers       int           // of each queue
	// Ordered lets a StatefulSet start its pods one after the other.
	Ordered bool
	// Claims are templates of the pods' claims, of a StatefulSet.
	Claims []corev1.PersistentVolumeClaim
	// Change changes the pods' template.
	Change func(*corev1.PodTemplateSpec)
}

// Workload is what a StatefulSet and a Deployment of counters have in common: an
// ordinary Service of the workload's name, and a budget of one disruption.
type Workload struct {
	WorkloadConfig
	lab *Lab
}

func (w *Workload) labels() map[string]string { return counterLabels(w.Name) }

func (w *Workload) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.Namespace, Name: w.Name, Labels: w.labels()}
}

// Key is the name of the workload, of its Service and of its budget.
func (w *Workload) Key() client.ObjectKey {
	return client.ObjectKey{Namespace: w.Namespace, Name: w.Name}
}

// template is the pods' template; env names the queues.
func (w *Workload) template(env ...corev1.EnvVar) corev1.PodTemplateSpec {
	container := w.lab.counterContainer(env...)
	container.Env = append(container.Env,
		corev1.EnvVar{Name: "WORK", Value: w.Work.String()},
		corev1.EnvVar{Name: "PREFETCH", Value: fmt.Sprint(w.Prefetch)})
	t := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: w.labels()},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr.To[int64](2),
			// A wish, not a rule: with as many pods as nodes a rule would leave a
			// copy no place.
			TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
				MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
				LabelSelector: &metav1.LabelSelector{MatchLabels: w.labels()},
			}},
			Containers: []corev1.Container{container},
		},
	}
	if w.Change != nil {
		w.Change(&t)
	}
	return t
}

func (w *Workload) service(name string, selector map[string]string) *corev1.Service {
	meta := w.meta()
	meta.Name = name
	return &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Selector: selector,
		Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
	}}
}

// create makes the objects of the workload, the Service and the budget first, so
// that they see every pod.
func (w *Workload) create(ctx context.Context, objects ...client.Object) error {
	if err := w.lab.ensureNamespace(ctx, w.Namespace); err != nil {
		return err
	}
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: w.meta(), Spec: policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable: ptr.To(intstr.FromInt32(1)),
		Selector:       &metav1.LabelSelector{MatchLabels: w.labels()},
	}}
	for _, o := range append([]client.Object{w.service(w.Name, w.labels()), budget}, objects...) {
		if err := w.lab.Client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// remove deletes the workload, its pods, and whatever else it has made.
func (w *Workload) remove(ctx context.Context, owner client.Object, list client.ObjectList) error {
	background := client.PropagationPolicy(metav1.DeletePropagationBackground)
	err := errors.Join(client.IgnoreNotFound(w.lab.Client.Delete(ctx, owner, background)), Gone(ctx, w.lab, owner, list))
	here := []client.DeleteAllOfOption{client.InNamespace(w.Namespace), client.MatchingLabels(w.labels())}
	err = errors.Join(err,
		w.lab.Client.DeleteAllOf(ctx, &policyv1.PodDisruptionBudget{}, here...),
		w.lab.Client.DeleteAllOf(ctx, &corev1.PersistentVolumeClaim{}, here...),
		w.lab.Client.DeleteAllOf(ctx, &corev1.Service{}, here...))
	pods, listing := w.AllPods(ctx)
	err = errors.Join(err, listing)
	for i := range pods {
		err = errors.Join(err, client.IgnoreNotFound(w.lab.Client.Delete(ctx, &pods[i])), Gone(ctx, w.lab, &pods[i], &corev1.PodList{}))
	}
	return err
}

// AllPods are the workload's pods and their copies, also those that end.
func (w *Workload) AllPods(ctx context.Context) ([]corev1.Pod, error) {
	return w.lab.podsOf(ctx, w.Namespace, w.labels())
}

// ClusterIP is the base URL of a Service as clients in the cluster have it.
func (l *Lab) ClusterIP(ctx context.Context, service client.ObjectKey) (string, error) {
	s := &corev1.Service{}
	if err := l.Client.Get(ctx, service, s); err != nil {
		return "", err
	}
	return fmt.Sprintf("http://%s:%d", s.Spec.ClusterIP, s.Spec.Ports[0].Port), nil
}

// StartOwned starts a counter of another kind of owner, and waits until it is ready.
func (l *Lab) StartOwned(ctx context.Context, cfg WorkloadConfig, owner func(metav1.ObjectMeta, corev1.PodTemplateSpec) client.Object) (*Owned, error) {
	w := &Workload{WorkloadConfig: cfg, lab: l}
	c := &Counter{
		CounterConfig: CounterConfig{Namespace: cfg.Namespace, Name: cfg.Name, Queue: cfg.Namespace + "." + cfg.Name + ".in"},
		Outputs:       cfg.Namespace + "." + cfg.Name + ".out", workload: w, lab: l,
	}
	o := &Owned{Counter: c, owner: owner(w.meta(), w.template(
		corev1.EnvVar{Name: "QUEUE", Value: c.Queue},
		corev1.EnvVar{Name: "OUTPUT_QUEUE", Value: c.Outputs}))}
	if err := l.declare(cfg.Queues, c); err != nil {
		return nil, err
	}
	if err := w.create(ctx, o.owner); err != nil {
		return nil, err
	}
	ready := make(chan *corev1.Pod, 1)
	seen, err := l.observe(ctx, &corev1.PodList{}, func(present map[types.UID]client.Object) {
		for _, object := range present {
			if p := object.(*corev1.Pod); podReady(p) {
				select {
				case ready <- p:
				default:
				}
			}
		}
	}, client.InNamespace(cfg.Namespace), client.MatchingLabels(w.labels()))
	if err != nil {
		return nil, err
	}
	select {
	case c.Pod = <-ready:
		return o, seen.finish(ctx)
	case <-ctx.Done():
		return nil, fmt.Errorf("no pod of %s is ready: %w", cfg.Name, context.Cause(ctx))
	}
}

// Owned is a counter of some owner.
type Owned struct {
	*Counter
	owner client.Object
}

// Close removes the owner and the counter.
func (o *Owned) Close(ctx context.Context, list client.ObjectList) error {
	return errors.Join(o.workload.remove(ctx, o.owner, list), o.lab.undeclare(o.Counter))
}
