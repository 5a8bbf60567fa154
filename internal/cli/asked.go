package cli

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/policy"
	"ms2m.dev/ms2m/internal/request"
)

// asked is what the flags say of the migrations to make.
type asked struct {
	to, selector         string
	strategy, repository string
	cutoff               time.Duration
	name, container      string // of one pod
	queue, brokerSecret  string
	onePod               bool
}

// addWhere adds the flags that make sense for several pods at once.
func (a *asked) addWhere(e *env, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.to, "to", "", "the `node` to go to; by default the scheduler chooses")
	f.StringVar(&a.selector, "selector", "", "`labels` of the nodes to go to (k=v,…)")
	f.StringVar(&a.strategy, "strategy", "", "Shadow, Sequential or Auto; by default the policy's, or Auto")
	f.DurationVar(&a.cutoff, "cutoff", 0, "the longest acceptable gap of the hand-over, in whole seconds (30s, 2m); by default the policy's, or 2m")
	f.StringVar(&a.repository, "repository", "", "`repository` for the checkpoint, host[:port]/path; by default what the pod's annotation or its policy says")
	cmd.MarkFlagsMutuallyExclusive("to", "selector")
	complete(cmd, "to", e.completing(nodes))
	complete(cmd, "strategy", cobra.FixedCompletions(
		[]string{string(v1alpha1.StrategyAuto), string(v1alpha1.StrategyShadow), string(v1alpha1.StrategySequential)}, cobra.ShellCompDirectiveNoFileComp))
}

// addPod adds the flags about one pod.
func (a *asked) addPod(cmd *cobra.Command) {
	a.onePod = true
	f := cmd.Flags()
	f.StringVar(&a.container, "container", "", "the `container` whose memory moves, if the pod has several")
	f.StringVar(&a.queue, "queue", "", "the primary `queue`, or several separated by commas; by default what the pod's annotation says")
	f.StringVar(&a.brokerSecret, "broker-secret", "", "the `Secret` with the broker's URL, name or name/key; by default what the pod's annotation says")
}

func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // the flag was added before
	}
}

// overrides are the flags as a spec.
func (a *asked) overrides() (request.Overrides, error) {
	o := request.Overrides{Name: a.name}
	s := &o.Spec
	s.Container, s.CheckpointImageRepository, s.Strategy = a.container, a.repository, v1alpha1.Strategy(a.strategy)
	switch s.Strategy {
	case "", v1alpha1.StrategyAuto, v1alpha1.StrategyShadow, v1alpha1.StrategySequential:
	default:
		return o, fmt.Errorf("--strategy is %q: Shadow, Sequential or Auto", a.strategy)
	}
	switch whole := a.cutoff / time.Second; {
	case a.cutoff == 0:
	case a.cutoff < 0 || a.cutoff%time.Second != 0 || whole > math.MaxInt32:
		return o, fmt.Errorf("--cutoff is %v: it must be whole seconds, at least 1s", a.cutoff)
	default:
		s.ReplayCutoffSeconds = int32(whole)
	}
	switch {
	case a.to != "":
		s.TargetNode = &v1alpha1.TargetNode{Name: a.to}
	case a.selector != "":
		set, err := labels.ConvertSelectorToLabelsMap(a.selector)
		if err != nil || len(set) == 0 {
			return o, fmt.Errorf("--selector is %q: it must be labels of nodes, like zone=a,disk=ssd", a.selector)
		}
		s.TargetNode = &v1alpha1.TargetNode{Selector: set}
	}
	request.NameQueues(&s.MessageQueueConfig, a.queue)
	if a.brokerSecret != "" {
		name, key, keyed := strings.Cut(a.brokerSecret, "/")
		if name == "" || keyed && key == "" || strings.Contains(key, "/") {
			return o, fmt.Errorf("--broker-secret is %q: it must be the name of a Secret of the pod's namespace, or name/key", a.brokerSecret)
		}
		if !keyed {
			key = request.DefaultSecretKey
		}
		s.MessageQueueConfig.BrokerURLSecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: key}
	}
	return o, nil
}

// request makes the migration of a pod.
func (a *asked) request(ctx context.Context, c client.Client, pod *corev1.Pod) (*migration, error) {
	o, err := a.overrides()
	if err != nil {
		return nil, err
	}
	under, err := policyOf(ctx, c, pod)
	if err != nil {
		return nil, err
	}
	m, err := request.For(pod, under, o)
	if err != nil && a.onePod {
		err = fmt.Errorf("%w\nHere they are given by --queue, --broker-secret and --repository; for good, by the annotations: kubectl annotate pod -n %s %s %s=…", err, pod.Namespace, pod.Name, v1alpha1.AnnotationQueueName)
	}
	return m, err
}

// policyOf is the pod's policy. Who may not read policies or namespaces goes without:
// it only stands in for what would be asked for else, and the manager applies it anyway.
func policyOf(ctx context.Context, c client.Client, pod *corev1.Pod) (*v1alpha1.MigrationPolicy, error) {
	list, ns := &v1alpha1.MigrationPolicyList{}, &corev1.Namespace{}
	err := c.List(ctx, list)
	if err == nil {
		err = c.Get(ctx, client.ObjectKey{Name: pod.Namespace}, ns)
	}
	switch {
	case apierrors.IsForbidden(err) || meta.IsNoMatchError(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return policy.Match(pod.Labels, ns.Labels, list.Items), nil
}

// podOf reads a pod by the name that was given.
func podOf(ctx context.Context, c client.Client, ns, name string) (*corev1.Pod, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "pod/"), "pods/")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	if err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
		pod.Namespace, pod.Name = ns, name
		return nil, missing(ctx, c, err, pod, "pod", pods())
	}
	return pod, nil
}

// nodeOf reads a node by the name that was given.
func nodeOf(ctx context.Context, c client.Client, name string) (*corev1.Node, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "node/"), "nodes/")
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := c.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
		node.Name = name
		return nil, missing(ctx, c, err, node, "node", nodes())
	}
	return node, nil
}

// checkTarget says at once what the preflight would find out about a node that is
// named. Who may not read nodes leaves it to the preflight.
func (a *asked) checkTarget(ctx context.Context, c client.Client, from string) error {
	if a.to == "" {
		return nil
	}
	node, err := nodeOf(ctx, c, a.to)
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("--to: %w", err)
	case node.Name == from:
		return failed("--to: the pod is on %s already: name another node, or none for the scheduler to choose", from)
	case node.Spec.Unschedulable:
		return failed("--to: the node %s is cordoned: let it be used (kubectl uncordon %s), or name another", node.Name, node.Name)
	}
	return nil
}

// moving is the migration that moves a pod now; nil: none does.
func moving(list []migration, pod *corev1.Pod) *migration {
	for i := range list {
		m := &list[i]
		s := &m.Status
		theirs := m.Spec.SourcePod.Name == pod.Name || s.SourcePodUID == pod.UID || s.TargetPodUID == pod.UID
		if m.Namespace == pod.Namespace && theirs && !ended(m) && !m.Spec.DryRun {
			return m
		}
	}
	return nil
}
