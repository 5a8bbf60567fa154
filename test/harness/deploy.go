package harness

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// SystemNamespace is where MS2M runs.
	SystemNamespace = "ms2m-system"

	fieldOwner         = client.FieldOwner("ms2m-harness")
	rolloutTimeout     = 90 * time.Second
	managerPlaceholder = "ms2m.dev/manager:dev"
	agentPlaceholder   = "ms2m.dev/node-agent:dev"
)

// Deploy applies the kustomization in dir with the lab's images and the authority
// of its registry, and waits until all of it is ready. What stands already is
// brought up to date.
func (l *Lab) Deploy(ctx context.Context, dir string) error {
	manifests, err := output(ctx, nil, "kubectl", "kustomize", dir)
	if err != nil {
		return err
	}
	for placeholder, image := range map[string]string{
		managerPlaceholder: l.Images.Manager,
		agentPlaceholder:   l.Images.Agent,
	} {
		if !strings.Contains(manifests, placeholder) {
			return fmt.Errorf("%s: no workload has the image %s", dir, placeholder)
		}
		manifests = strings.ReplaceAll(manifests, placeholder, image)
	}
	// Before the workloads: they read it when they start.
	if err := l.trustRegistry(ctx); err != nil {
		return err
	}
	_, err = output(ctx, []byte(manifests), "kubectl", "apply", "--server-side", "--force-conflicts", "--field-manager", string(fieldOwner), "-f", "-")
	if err != nil {
		return err
	}
	return l.rolledOut(ctx)
}

// trustRegistry gives MS2M the authority of the lab, which signed the registry's
// certificate as well as the API server's.
func (l *Lab) trustRegistry(ctx context.Context) error {
	if err := l.Client.Apply(ctx, corev1ac.Namespace(SystemNamespace), fieldOwner); err != nil {
		return err
	}
	return l.Client.Apply(ctx, corev1ac.ConfigMap("ms2m-registry-ca", SystemNamespace).
		WithData(map[string]string{"ca.crt": string(l.authority)}), fieldOwner, client.ForceOwnership)
}

// rolledOut waits for the present version of every workload of MS2M.
func (l *Lab) rolledOut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rolloutTimeout)
	defer cancel()
	deployments, daemons := &appsv1.DeploymentList{}, &appsv1.DaemonSetList{}
	if err := l.Client.List(ctx, deployments, client.InNamespace(SystemNamespace)); err != nil {
		return err
	}
	if err := l.Client.List(ctx, daemons, client.InNamespace(SystemNamespace)); err != nil {
		return err
	}
	for i := range deployments.Items {
		err := Until(ctx, l, &deployments.Items[i], &appsv1.DeploymentList{}, func(d *appsv1.Deployment) (bool, error) {
			return d != nil && deploymentReady(d), nil
		})
		if err != nil {
			return l.withPods(err)
		}
	}
	for i := range daemons.Items {
		err := Until(ctx, l, &daemons.Items[i], &appsv1.DaemonSetList{}, func(d *appsv1.DaemonSet) (bool, error) {
			return d != nil && daemonSetReady(d), nil
		})
		if err != nil {
			return l.withPods(err)
		}
	}
	return nil
}

func deploymentReady(d *appsv1.Deployment) bool {
	s, n := d.Status, ptr.Deref(d.Spec.Replicas, 1)
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == n && s.AvailableReplicas == n && s.Replicas == n
}

func daemonSetReady(d *appsv1.DaemonSet) bool {
	s := d.Status
	n := s.DesiredNumberScheduled
	return s.ObservedGeneration >= d.Generation && n > 0 && s.UpdatedNumberScheduled == n && s.NumberAvailable == n
}

// withPods adds to an error what MS2M's pods look like.
func (l *Lab) withPods(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	pods, listErr := output(ctx, nil, "kubectl", "-n", SystemNamespace, "get", "pods", "-o", "wide")
	if listErr != nil {
		return err
	}
	return fmt.Errorf("%w\n%s", err, pods)
}
