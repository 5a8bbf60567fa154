// Package uninstall makes a cluster ready for MS2M to be removed: it refuses while a
// migration is under way, stops the manager, and has the agents take away what they have
// installed on the nodes. The chart runs it before anything is deleted.
package uninstall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

const (
	pollInterval = 500 * time.Millisecond
	// named is how many objects an error names.
	named     = 5
	labelName = "app.kubernetes.io/name"
	manager   = "ms2m-manager"
	// removing is what makes an agent take away what it has installed.
	removing = "--uninstall"
)

// Uninstaller does it.
type Uninstaller struct {
	Client client.Client
	Log    logr.Logger
	// Namespace is the manager's.
	Namespace      string
	AgentNamespace string
	// KeepNodes leaves shim, handler and CRIU's options on the nodes, for the pods that
	// were moved there.
	KeepNodes bool
}

// Run returns when everything else can be deleted.
func (u *Uninstaller) Run(ctx context.Context) error {
	// Twice: before anything is done, and when no manager begins another one.
	if err := u.idle(ctx); err != nil {
		return err
	}
	replicas, err := u.stopManager(ctx)
	if err != nil {
		return fmt.Errorf("stop the manager: %w", err)
	}
	if err := u.idle(ctx); err != nil {
		return errors.Join(err, u.scale(context.WithoutCancel(ctx), replicas))
	}
	if u.KeepNodes {
		return nil
	}
	if err := u.cleanNodes(ctx); err != nil {
		return fmt.Errorf("%w\nThe manager is stopped. Once that is settled, uninstall again; or upgrade (helm upgrade --force-conflicts), to have MS2M back", err)
	}
	return nil
}

// idle tells what would be broken by it.
func (u *Uninstaller) idle(ctx context.Context) error {
	migrations := &v1alpha1.StatefulMigrationList{}
	if err := u.Client.List(ctx, migrations); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("list migrations: %w", err)
	}
	var found []string
	for _, m := range migrations.Items {
		if p := m.Status.Phase; p != v1alpha1.PhaseCompleted && p != v1alpha1.PhaseFailed {
			found = append(found, m.Namespace+"/"+m.Name)
		}
	}
	if found != nil {
		return fmt.Errorf("migrations are under way: %s: wait for them, or delete them (before COMMIT that leaves the source as it was)", some(found))
	}
	if u.KeepNodes {
		return nil
	}
	pods := &corev1.PodList{}
	if err := u.Client.List(ctx, pods); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods.Items {
		over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if ptr.Deref(p.Spec.RuntimeClassName, "") == v1alpha1.RuntimeClassName && !over {
			found = append(found, p.Namespace+"/"+p.Name)
		}
	}
	if found != nil {
		return fmt.Errorf("pods that were moved still run by the handler %s, without which their containers can't be started again: %s: "+
			"replace them first, or set uninstall.nodes=keep, which leaves handler and shim on the nodes", v1alpha1.RuntimeClassName, some(found))
	}
	return nil
}

// stopManager returns how many of them there were.
func (u *Uninstaller) stopManager(ctx context.Context) (replicas int32, err error) {
	d := &appsv1.Deployment{}
	switch err := u.Client.Get(ctx, client.ObjectKey{Namespace: u.Namespace, Name: manager}, d); {
	case apierrors.IsNotFound(err):
		return 0, nil
	case err != nil:
		return 0, err
	}
	replicas = ptr.Deref(d.Spec.Replicas, 1)
	if err := u.scale(ctx, 0); err != nil {
		return 0, err
	}
	u.Log.Info("waiting for the manager to end")
	return replicas, wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		pods := &corev1.PodList{}
		err := u.Client.List(ctx, pods, client.InNamespace(u.Namespace), client.MatchingLabels{labelName: manager})
		return err == nil && len(pods.Items) == 0, nil
	})
}

func (u *Uninstaller) scale(ctx context.Context, replicas int32) error {
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = u.Namespace, manager
	return client.IgnoreNotFound(u.Client.Patch(ctx, d, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))))
}

// cleanNodes has every agent take away what it has installed, all at once.
func (u *Uninstaller) cleanNodes(ctx context.Context) error {
	d := &appsv1.DaemonSet{}
	switch err := u.Client.Get(ctx, client.ObjectKey{Namespace: u.AgentNamespace, Name: v1alpha1.AgentName}, d); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("find the agents: %w", err)
	}
	old := d.DeepCopy()
	if c := &d.Spec.Template.Spec.Containers[0]; !slices.Contains(c.Args, removing) {
		c.Args = append(c.Args, removing)
	}
	d.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: ptr.To(intstr.FromString("100%"))}}
	if err := u.Client.Patch(ctx, d, client.MergeFrom(old)); err != nil {
		return fmt.Errorf("tell the agents: %w", err)
	}
	var left []string
	last := error(nil)
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		var now []string
		if now, last = u.left(ctx, d.Generation); last != nil {
			return false, nil // the API server is away for a moment
		}
		if !slices.Equal(now, left) {
			u.Log.Info("waiting for agents to clean their nodes", "nodes", now)
		}
		left = now
		return len(left) == 0, nil
	})
	if err != nil && last == nil {
		return fmt.Errorf("these nodes are not clean: %s: see the logs of the agents there in %s", some(left), u.AgentNamespace)
	}
	return errors.Join(err, last)
}

// left are the nodes that are not clean yet, of those that are ready: nothing can be
// asked of the others.
func (u *Uninstaller) left(ctx context.Context, generation int64) (left []string, err error) {
	d := &appsv1.DaemonSet{}
	if err := u.Client.Get(ctx, client.ObjectKey{Namespace: u.AgentNamespace, Name: v1alpha1.AgentName}, d); err != nil {
		return nil, err
	}
	if d.Status.ObservedGeneration < generation {
		return []string{"all"}, nil
	}
	nodes, pods := &corev1.NodeList{}, &corev1.PodList{}
	if err := u.Client.List(ctx, nodes); err != nil {
		return nil, err
	}
	away := 0
	ready := map[string]bool{}
	for _, n := range nodes.Items {
		ready[n.Name] = slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}
	if err := u.Client.List(ctx, pods, client.InNamespace(u.AgentNamespace), client.MatchingLabels{labelName: v1alpha1.AgentName}); err != nil {
		return nil, err
	}
	clean := 0
	for i := range pods.Items {
		p := &pods.Items[i]
		switch {
		case !ready[p.Spec.NodeName]:
			away++
			u.Log.Info("the node is not ready: what is installed there stays", "node", p.Spec.NodeName)
		case slices.Contains(p.Spec.Containers[0].Args, removing) && podReady(p):
			clean++
		default:
			left = append(left, p.Spec.NodeName)
		}
	}
	if missing := int(d.Status.DesiredNumberScheduled) - away - clean - len(left); missing > 0 {
		left = append(left, fmt.Sprintf("%d without an agent at the moment", missing))
	}
	slices.Sort(left)
	return slices.Compact(left), nil
}

func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// some names the first of them.
func some(names []string) string {
	if more := len(names) - named; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), more)
	}
	return strings.Join(names, ", ")
}
