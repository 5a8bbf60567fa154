package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/policy"
	"ms2m.dev/ms2m/sdk/handover"
)

// labelName is the label by which the agents' pods are found.
const labelName = "app.kubernetes.io/name"

// preflight gathers what only the checks before a migration look at.
func (s *scope) preflight(ctx context.Context, f *migration.Facts) (*migration.Preflight, error) {
	p, source := &migration.Preflight{}, f.Source.Pod
	var err error
	if p.Rival, err = s.rival(ctx); err != nil {
		return nil, err
	}
	if err := s.survey(ctx, p, source); err != nil {
		return nil, err
	}
	if p.Agents, err = s.agents(ctx); err != nil {
		return nil, err
	}
	if p.Claims, err = s.claims(ctx, source); err != nil {
		return nil, err
	}
	if err := s.review(ctx, p, policy.Resolve(&s.object.Spec, f.MigrationPolicy).CheckpointImageRepository); err != nil {
		return nil, err
	}
	p.Queues, p.ReplayQueue, p.Broker = s.queues(ctx)
	return p, nil
}

// survey is what a look at the cluster has shown, that is not watched.
type survey struct {
	at    time.Time
	of    string // the source's node
	nodes []corev1.Node
	class bool
}

// survey looks at nodes and runtime class: not with every event, of which there are some
// in a moment before a migration begins, but as often as it looks without any.
func (s *scope) survey(ctx context.Context, p *migration.Preflight, source *corev1.Pod) error {
	last, now, node := &s.session.surveyed, s.Clock.Now(), ""
	if source != nil {
		node = source.Spec.NodeName
	}
	if last.at.IsZero() || now.Sub(last.at) >= s.Policy.Poll || last.of != node {
		nodes, err := s.nodes(ctx, node)
		if err != nil {
			return err
		}
		var class nodev1.RuntimeClass
		err = s.Live.Get(ctx, client.ObjectKey{Name: v1alpha1.RuntimeClassName}, &class)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		*last = survey{at: now, of: node, nodes: nodes, class: err == nil}
	}
	p.Nodes, p.RuntimeClass = last.nodes, last.class
	return nil
}

// rival is a migration that goes before this one: of the same pod, or of the
// pod that becomes this one's source. Of two that have not begun, the older.
func (s *scope) rival(ctx context.Context) (string, error) {
	var list v1alpha1.StatefulMigrationList // only read: copies of all for each would cost the square of their number
	if err := s.Client.List(ctx, &list, client.InNamespace(s.object.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return "", err
	}
	name := s.object.Spec.SourcePod.Name
	for i := range list.Items {
		other := &list.Items[i]
		switch {
		case other.UID == s.object.UID || ended(other) || other.Spec.DryRun:
			continue
		case other.Status.TargetPodName == name, other.Spec.SourcePod.Name != name && other.Status.SourcePodName == name:
			return other.Name, nil
		case other.Spec.SourcePod.Name == name && goesFirst(other, s.object):
			return other.Name, nil
		}
	}
	return "", nil
}

func goesFirst(a, b *v1alpha1.StatefulMigration) bool {
	if a.Status.Phase != "" && a.Status.Phase != v1alpha1.PhasePending {
		return true
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.UID < b.UID
}

// nodes reads the source's node and those that spec.targetNode can mean.
func (s *scope) nodes(ctx context.Context, sourceNode string) ([]corev1.Node, error) {
	target := s.object.Spec.TargetNode
	var out []corev1.Node
	get := func(name string) error {
		var n corev1.Node
		switch err := s.Live.Get(ctx, client.ObjectKey{Name: name}, &n); {
		case err == nil:
			out = append(out, n)
		case !apierrors.IsNotFound(err):
			return err
		}
		return nil
	}
	if sourceNode != "" {
		if err := get(sourceNode); err != nil {
			return nil, err
		}
	}
	if target != nil && target.Name != "" {
		if target.Name == sourceNode {
			return out, nil
		}
		return out, get(target.Name)
	}
	var list corev1.NodeList
	var opts []client.ListOption
	if target != nil {
		opts = append(opts, client.MatchingLabels(target.Selector))
	}
	if err := s.Live.List(ctx, &list, opts...); err != nil {
		return nil, err
	}
	for _, n := range list.Items {
		if n.Name != sourceNode {
			out = append(out, n)
		}
	}
	return out, nil
}

// agents finds the nodes whose agent is ready, and what it says of its node.
func (s *scope) agents(ctx context.Context) (map[string]string, error) {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(s.AgentNamespace),
		client.MatchingLabels{labelName: v1alpha1.AgentName}); err != nil {
		return nil, err
	}
	ready := map[string]string{}
	for _, pod := range pods.Items {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				ready[pod.Spec.NodeName] = pod.Annotations[v1alpha1.AnnotationNodeFacts]
			}
		}
	}
	return ready, nil
}

// queues asks the broker for the primary queues and for the replay queue's name.
func (s *scope) queues(ctx context.Context) (primary map[string]*migration.Queue, replay *migration.Queue, _ error) {
	if err := s.unreachable(); err != nil {
		return nil, nil, err
	}
	look := func(name string) (*migration.Queue, error) {
		q, err := s.session.broker.Look(ctx, name)
		if err != nil || q == nil {
			return nil, brokerError(err)
		}
		return &migration.Queue{Messages: q.Messages, Consumers: q.Consumers}, nil
	}
	c := s.object.Spec.MessageQueueConfig
	primary = map[string]*migration.Queue{}
	for _, queue := range c.Queues() {
		q, err := look(queue)
		if err != nil {
			return nil, nil, err
		}
		primary[queue] = q
	}
	name := c.ReplayQueueName
	if name == "" {
		name = handover.ReplayQueue(string(s.object.UID))
	}
	replay, err := look(name)
	return primary, replay, err
}

// unreachable says why there is no broker to ask.
func (s *scope) unreachable() error {
	if s.session.broker != nil {
		return nil
	}
	if s.session.brokerErr != nil {
		return s.session.brokerErr
	}
	return migration.Passing(migration.ReasonBrokerUnavailable, broker.ErrUnavailable)
}

// brokerURL is the URL of the migration's broker. It may hold a password: it
// goes to the broker's client and nowhere else.
func (s *scope) brokerURL(ctx context.Context) (string, error) {
	c := s.object.Spec.MessageQueueConfig
	ref := c.BrokerURLSecretRef
	if ref == nil {
		return c.BrokerURL, nil
	}
	var secret corev1.Secret
	if err := s.Live.Get(ctx, client.ObjectKey{Namespace: s.object.Namespace, Name: ref.Name}, &secret); err != nil {
		return "", migration.Passing(migration.ReasonSecretUnavailable, fmt.Errorf("brokerURLSecretRef.name: %w", err))
	}
	url, ok := secret.Data[ref.Key]
	if !ok {
		return "", migration.Passing(migration.ReasonSecretUnavailable,
			fmt.Errorf("brokerURLSecretRef.key: the Secret %q has no key %q", ref.Name, ref.Key))
	}
	return string(url), nil
}
