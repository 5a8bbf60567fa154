package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// SystemNamespace is where the manager runs, and the release is.
	SystemNamespace = "ms2m-system"
	// AgentNamespace is where the agents run.
	AgentNamespace = "ms2m-nodes"

	release        = "ms2m"
	fieldOwner     = client.FieldOwner("ms2m-harness")
	rolloutTimeout = 90 * time.Second
)

// Deploy installs the chart in dir with the lab's images and the authority of its
// registry, and waits until all of it is ready. What stands already is brought up to
// date. Each of set is a value more, as helm's --set has it.
func (l *Lab) Deploy(ctx context.Context, dir string, set ...string) error {
	values, err := l.values()
	if err != nil {
		return err
	}
	// As docs/install.md says: a manager that needed more would not be let in.
	namespace := corev1ac.Namespace(SystemNamespace).WithLabels(map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	if err := l.Client.Apply(ctx, namespace, fieldOwner); err != nil {
		return err
	}
	args := []string{
		"upgrade", "--install", release, dir, "--namespace", SystemNamespace, "--values", "-",
		// What a test has changed goes.
		"--server-side=true", "--force-conflicts",
		// rolledOut waits also for what an update replaces, and says what the pods look like.
		"--wait=hookOnly", "--timeout", rolloutTimeout.String(),
	}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	if _, err := output(ctx, values, l.helm(), args...); err != nil {
		return err
	}
	if err := l.rolledOut(ctx); err != nil {
		return err
	}
	return l.steers(ctx)
}

// values are those by which the lab differs from the chart's own.
func (l *Lab) values() ([]byte, error) {
	type tree = map[string]any
	image := func(reference string) tree {
		repository, digest, _ := strings.Cut(reference, "@")
		return tree{"image": tree{"repository": repository, "digest": digest}}
	}
	return json.Marshal(tree{
		"manager": image(l.Images.Manager),
		"agent":   image(l.Images.Agent),
		// It signed the registry's certificate as well as the API server's.
		"registry": tree{"caBundle": string(l.authority)},
		"drain":    tree{"webhook": tree{"enabled": true}},
	})
}

// helm is the program beside the lab's own.
func (l *Lab) helm() string { return filepath.Join(filepath.Dir(l.command), "helm") }

// rolledOut waits for the present version of every workload of MS2M.
func (l *Lab) rolledOut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rolloutTimeout)
	defer cancel()
	manager := &appsv1.Deployment{}
	if err := l.Client.Get(ctx, managerKey, manager); err != nil {
		return err
	}
	err := Until(ctx, l, manager, &appsv1.DeploymentList{}, func(d *appsv1.Deployment) (bool, error) {
		return d != nil && deploymentReady(d), nil
	})
	if err != nil {
		return l.withPods(err)
	}
	agents := &appsv1.DaemonSet{}
	if err := l.Client.Get(ctx, agentKey, agents); err != nil {
		return err
	}
	err = Until(ctx, l, agents, &appsv1.DaemonSetList{}, func(d *appsv1.DaemonSet) (bool, error) {
		return d != nil && daemonSetReady(d), nil
	})
	if err != nil {
		return l.withPods(err)
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
	for _, namespace := range []string{SystemNamespace, AgentNamespace} {
		pods, listErr := output(ctx, nil, "kubectl", "-n", namespace, "get", "pods", "-o", "wide")
		if listErr != nil {
			return err
		}
		err = fmt.Errorf("%w\n%s", err, pods)
	}
	return err
}
