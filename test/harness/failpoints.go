package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// A manager with failpoints: see cmd/manager/failpoints.go.
const (
	failpointVolume = "failpoint"
	failpointDeath  = "MS2M_FAILPOINT"
	failpointSpent  = "MS2M_FAILPOINT_SPENT"
)

// leases of a manager that is to be missed for seconds only.
var shortLeases = []string{"--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=500ms"}

// Instrument runs a new process of the manager, with failpoints, which dies at a
// point (17/after; empty: nowhere) and is started again by its kubelet. It returns how
// to have the ordinary manager back.
func (l *Lab) Instrument(ctx context.Context, death string) (restore func(context.Context) error, err error) {
	d := &appsv1.Deployment{}
	if err := l.Client.Get(ctx, managerKey, d); err != nil {
		return nil, err
	}
	plain := d.Spec.Template.DeepCopy()
	pod := &d.Spec.Template.Spec
	if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == failpointVolume }) {
		// What the process leaves there the next one finds.
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: failpointVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		c := &pod.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: failpointVolume, MountPath: "/failpoint"})
		c.Env = append(c.Env, corev1.EnvVar{Name: failpointSpent, Value: "/failpoint/spent"}, corev1.EnvVar{Name: failpointDeath})
		c.Args = append(c.Args, shortLeases...)
	}
	pod.Containers[0].Image = l.Images.Failpoints
	env := pod.Containers[0].Env
	env[slices.IndexFunc(env, func(e corev1.EnvVar) bool { return e.Name == failpointDeath })].Value = death
	if err := l.setManager(ctx, d.Spec.Template); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return l.setManager(ctx, *plain) }, nil
}

// setManager runs a manager of a template, and waits until it alone is there.
func (l *Lab) setManager(ctx context.Context, template corev1.PodTemplateSpec) error {
	d := &appsv1.Deployment{}
	if err := l.Client.Get(ctx, managerKey, d); err != nil {
		return err
	}
	old := d.DeepCopy()
	if d.Spec.Template = template; equality.Semantic.DeepEqual(old.Spec.Template, template) {
		return nil
	}
	if err := l.Client.Patch(ctx, d, client.MergeFrom(old), fieldOwner); err != nil {
		return err
	}
	return Until(ctx, l, d, &appsv1.DeploymentList{}, func(d *appsv1.Deployment) (bool, error) {
		return d != nil && deploymentReady(d), nil
	})
}

// Effect is one effect of a manager with failpoints.
type Effect struct {
	N    int    `json:"n"`
	Name string `json:"name"`
	Side string `json:"side"`
}

// Effects are the effects of the manager's processes, the first and the one that
// followed it; died is where the first did, nil if it lives.
func (l *Lab) Effects(ctx context.Context) (all []Effect, died *Effect, err error) {
	pod, err := l.ManagerPod(ctx)
	if err != nil {
		return nil, nil, err
	}
	args := []string{"-n", SystemNamespace, "logs", pod.Name}
	now, err := output(ctx, nil, "kubectl", args...)
	if err != nil {
		return nil, nil, err
	}
	var before string
	if pod.Status.ContainerStatuses[0].RestartCount > 0 {
		if before, err = output(ctx, nil, "kubectl", append(args, "--previous")...); err != nil {
			return nil, nil, err
		}
	}
	for line := range strings.Lines(before + now) {
		var said struct {
			Effect
			Message string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &said) != nil {
			continue // of a panic, or cut off
		}
		switch said.Message {
		case "effect":
			all = append(all, said.Effect)
		case "failpoint: dies":
			died = &said.Effect
		}
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("the manager %s tells of no effects: it has no failpoints", pod.Name)
	}
	return all, died, nil
}

// AwaitLeg waits for a leg in a namespace.
func (l *Lab) AwaitLeg(ctx context.Context, namespace string, is func(*v1alpha1.CheckpointTransfer) bool) error {
	legs, err := l.Client.Watch(ctx, &v1alpha1.CheckpointTransferList{}, client.InNamespace(namespace))
	if err != nil {
		return err
	}
	defer legs.Stop()
	for e := range legs.ResultChan() {
		if leg, ok := e.Object.(*v1alpha1.CheckpointTransfer); ok && is(leg) {
			return nil
		}
	}
	return errors.Join(errors.New("the watch of legs ended before one came"), context.Cause(ctx))
}

// AgentPod is the pod of a node's agent.
func (l *Lab) AgentPod(ctx context.Context, node string) (*corev1.Pod, error) {
	pods := &corev1.PodList{}
	err := l.Client.List(ctx, pods, client.InNamespace(AgentNamespace), client.MatchingLabels{"app.kubernetes.io/name": v1alpha1.AgentName})
	if err != nil {
		return nil, err
	}
	for i, p := range pods.Items {
		if p.Spec.NodeName == node && p.DeletionTimestamp == nil {
			return &pods.Items[i], nil
		}
	}
	return nil, fmt.Errorf("no agent runs on %s", node)
}
