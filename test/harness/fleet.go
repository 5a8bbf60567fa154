package harness

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/load"
)

// DeploymentFlow is a Deployment of counters that share one queue and put out to
// one. The flow's Pod is the one that is to be moved next.
type DeploymentFlow struct {
	*Workload
	*Flow
	Deployment *appsv1.Deployment
}

// StartDeployment starts a Deployment, waits until all of it is ready, and starts
// the load on its queue.
func (l *Lab) StartDeployment(ctx context.Context, cfg WorkloadConfig) (*DeploymentFlow, error) {
	w := &Workload{WorkloadConfig: cfg, lab: l}
	c := &Counter{
		CounterConfig: CounterConfig{Namespace: cfg.Namespace, Name: cfg.Name, Queue: cfg.Namespace + "." + cfg.Name + ".in"},
		Outputs:       cfg.Namespace + "." + cfg.Name + ".out", workload: w, lab: l,
	}
	d := &DeploymentFlow{Workload: w, Flow: &Flow{Counter: c}, Deployment: &appsv1.Deployment{
		ObjectMeta: w.meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &w.Replicas,
			Selector: &metav1.LabelSelector{MatchLabels: w.labels()},
			Template: w.template(
				corev1.EnvVar{Name: "QUEUE", Value: c.Queue},
				corev1.EnvVar{Name: "OUTPUT_QUEUE", Value: c.Outputs}),
		}}}
	if err := l.declare(cfg.Queues, c); err != nil {
		return nil, err
	}
	if err := w.create(ctx, d.Deployment); err != nil {
		return nil, err
	}
	if err := d.Steady(ctx); err != nil {
		return nil, err
	}
	pods, err := d.Live(ctx)
	if err != nil {
		return nil, err
	}
	c.Pod = &pods[0]
	begin, err := l.State(ctx, c.Pod)
	if err != nil {
		return nil, err
	}
	d.Flow = c.load(ctx, begin, FlowConfig{Rate: cfg.Rate, Producers: cfg.Producers})
	d.fleet = true
	return d, nil
}

// Choose makes a pod the one that is moved next.
func (d *DeploymentFlow) Choose(ctx context.Context, pod *corev1.Pod) (err error) {
	d.Pod = pod
	d.Begin, err = d.lab.State(ctx, pod)
	return err
}

// Live are the pods that do not end.
func (w *Workload) Live(ctx context.Context) ([]corev1.Pod, error) {
	all, err := w.AllPods(ctx)
	var pods []corev1.Pod
	for _, p := range all {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			pods = append(pods, p)
		}
	}
	if err == nil && len(pods) == 0 {
		err = fmt.Errorf("no pod of %s runs", w.Name)
	}
	return pods, err
}

// States asks every live counter for its state, by the pod's name.
func (w *Workload) States(ctx context.Context) (map[string]ledger.State, error) {
	pods, err := w.Live(ctx)
	states := make(map[string]ledger.State)
	for i := range pods {
		state, failed := w.lab.State(ctx, &pods[i])
		states[pods[i].Name], err = state, errors.Join(err, failed)
	}
	return states, err
}

// judgeFleet judges all the counters that live, together.
func (f *Flow) judgeFleet(ctx context.Context, sent load.Sent, o *Outcome) error {
	byPod, err := f.workload.States(ctx)
	if err != nil {
		return err
	}
	var states []ledger.State
	for _, s := range byPod {
		states = append(states, s)
	}
	o.Others = states
	o.Verdict = load.JudgeReplicas(sent, load.Deal(states, o.Received)...)
	return nil
}

// Steady waits until the Deployment has exactly the pods that it wants, of its
// present template, and all are available.
func (d *DeploymentFlow) Steady(ctx context.Context) error {
	return Until(ctx, d.lab, d.Deployment, &appsv1.DeploymentList{}, func(now *appsv1.Deployment) (bool, error) {
		if now == nil {
			return false, fmt.Errorf("there is no Deployment %s", d.Deployment.Name)
		}
		return deploymentReady(now), nil
	})
}

// Watch begins to watch the Deployment, see WatchOwner.
func (d *DeploymentFlow) Watch(ctx context.Context) (*OwnerWatch, error) {
	return d.WatchOwner(ctx, &appsv1.DeploymentList{})
}

// Change patches the Deployment.
func (d *DeploymentFlow) Change(ctx context.Context, change func(*appsv1.Deployment)) error {
	now := &appsv1.Deployment{}
	if err := d.lab.Client.Get(ctx, client.ObjectKeyFromObject(d.Deployment), now); err != nil {
		return err
	}
	old := now.DeepCopy()
	change(now)
	return d.lab.Client.Patch(ctx, now, client.MergeFrom(old))
}

// Close ends the load and removes everything.
func (d *DeploymentFlow) Close(ctx context.Context) error {
	err := d.remove(ctx, d.Deployment, &appsv1.DeploymentList{})
	d.stop()
	return errors.Join(err, d.lab.undeclare(d.Counter))
}
