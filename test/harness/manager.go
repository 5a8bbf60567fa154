package harness

import (
	"context"
	"errors"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// managerKey is the manager's Deployment.
var managerKey = client.ObjectKey{Namespace: SystemNamespace, Name: "ms2m-manager"}

// agentKey is the agents' DaemonSet.
var agentKey = client.ObjectKey{Namespace: AgentNamespace, Name: v1alpha1.AgentName}

// SetManager runs the manager in so many replicas (0: it is gone for good) with
// these flags besides the usual ones, waits until that is so, and returns how to
// have the old one back.
func (l *Lab) SetManager(ctx context.Context, replicas int32, flags ...string) (restore func(context.Context) error, err error) {
	return l.changeManager(ctx, func(d *appsv1.Deployment) {
		d.Spec.Replicas = ptr.To(replicas)
		c := &d.Spec.Template.Spec.Containers[0]
		c.Args = slices.Concat(c.Args, flags)
	})
}

// SetManagerAt runs the manager on a node, with these flags besides the usual ones.
func (l *Lab) SetManagerAt(ctx context.Context, node string, flags ...string) (restore func(context.Context) error, err error) {
	return l.changeManager(ctx, func(d *appsv1.Deployment) {
		spec := &d.Spec.Template.Spec
		spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
		spec.Containers[0].Args = slices.Concat(spec.Containers[0].Args, flags)
	})
}

func (l *Lab) changeManager(ctx context.Context, change func(*appsv1.Deployment)) (restore func(context.Context) error, err error) {
	d := &appsv1.Deployment{}
	if err := l.Client.Get(ctx, managerKey, d); err != nil {
		return nil, err
	}
	old := d.DeepCopy().Spec
	change(d)
	if err := l.runManager(ctx, d.Spec); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return l.runManager(ctx, old) }, nil
}

func (l *Lab) runManager(ctx context.Context, spec appsv1.DeploymentSpec) error {
	d := &appsv1.Deployment{}
	if err := l.Client.Get(ctx, managerKey, d); err != nil {
		return err
	}
	old := d.DeepCopy()
	d.Spec = spec
	if err := l.Client.Patch(ctx, d, client.MergeFrom(old), fieldOwner); err != nil {
		return err
	}
	err := Until(ctx, l, d, &appsv1.DeploymentList{}, func(d *appsv1.Deployment) (bool, error) {
		return d != nil && deploymentReady(d), nil
	})
	if err != nil {
		return err
	}
	// The Deployment does not count those that are still being ended, and one that is may
	// take up what is created now.
	pods, err := l.managerPods(ctx)
	for i := range pods {
		if pods[i].DeletionTimestamp != nil {
			err = errors.Join(err, Gone(ctx, l, &pods[i], &corev1.PodList{}))
		}
	}
	return err
}

func (l *Lab) managerPods(ctx context.Context) ([]corev1.Pod, error) {
	return l.podsOf(ctx, SystemNamespace, map[string]string{"app.kubernetes.io/name": managerKey.Name})
}

// AgentPods are the pods of the node agents.
func (l *Lab) AgentPods(ctx context.Context) ([]corev1.Pod, error) {
	return l.podsOf(ctx, AgentNamespace, map[string]string{"app.kubernetes.io/name": v1alpha1.AgentName})
}

// ManagerPod is the pod of the manager that runs.
func (l *Lab) ManagerPod(ctx context.Context) (*corev1.Pod, error) {
	pods, err := l.managerPods(ctx)
	if err != nil {
		return nil, err
	}
	for i, p := range pods {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return &pods[i], nil
		}
	}
	return nil, errors.New("no pod of the manager runs")
}
