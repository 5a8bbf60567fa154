package migration

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

func (p *planner) checkNamespace() *finding {
	ns := p.Object.Spec.SourcePod.Namespace
	if ns != "" && ns != p.Object.Namespace {
		return refuse(ReasonInvalidSpec, "spec.sourcePod.namespace is %q: only the StatefulMigration's own namespace (%s) can be named", ns, p.Object.Namespace)
	}
	return nil
}

func (p *planner) checkSourcePod() *finding {
	name, pod := p.Object.Spec.SourcePod.Name, p.Source.Pod
	switch {
	case pod == nil:
		return refuse(ReasonPodNotFound, "spec.sourcePod.name: there is no pod %q in namespace %q", name, p.Object.Namespace)
	case p.status.SourcePodUID != "" && p.status.SourcePodUID != pod.UID:
		return refuse(ReasonSourceLost, "spec.sourcePod.name: the pod %q was replaced by another of its name", name)
	case pod.DeletionTimestamp != nil:
		return refuse(ReasonPodNotRunning, "spec.sourcePod.name: the pod %q is being deleted", name)
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return refuse(ReasonPodNotRunning, "spec.sourcePod.name: the pod %q has ended (%s)", name, pod.Status.Phase)
	case pod.Status.Phase != corev1.PodRunning:
		return hold(ReasonPodNotRunning, "spec.sourcePod.name: the pod %q is not running yet (%s)", name, pod.Status.Phase)
	}
	return nil
}

// checkRival keeps two migrations from interleaving on one pod.
func (p *planner) checkRival() *finding {
	if rival := p.Preflight.Rival; rival != "" {
		return hold(ReasonOtherMigration, "the StatefulMigration %q is moving this pod: it has to end first", rival)
	}
	return nil
}

func (p *planner) checkContainer() *finding {
	pod := p.Source.Pod
	if _, why := MigratedContainer(pod, p.Object.Spec.Container); why != "" {
		return refuse(ReasonContainerNotFound, "%s", why)
	}
	p.identify()
	if c := containerStatus(pod, p.status.Container); c == nil || c.State.Running == nil {
		return hold(ReasonPodNotRunning, "spec.container: the container %q is not running", p.status.Container)
	}
	return nil
}

// identify fixes which pod is meant, from here on by its UID.
func (p *planner) identify() {
	pod := p.Source.Pod
	p.status.SourcePodUID, p.status.SourceNode = pod.UID, pod.Spec.NodeName
	p.status.Container, _ = MigratedContainer(pod, p.Object.Spec.Container)
	p.status.Strategy = v1alpha1.StrategyShadow
}

// checkShape refuses pods that a copy on another node cannot be the same as.
func (p *planner) checkShape() *finding {
	ref, kind, why := owner.Of(p.Source.Pod)
	if ref != nil {
		why = fmt.Sprintf("the pod %q belongs to the %s %q; only standalone pods can be moved", p.Source.Pod.Name, ref.Kind, ref.Name)
	}
	if why == "" {
		why = Shape(p.Source.Pod, p.status.Container)
	}
	verdict := Volumes(p.Source.Pod, p.status.Container, nil)
	if why == "" {
		why = verdict.Refused
	}
	if why != "" {
		return refuse(ReasonPodUnsupported, "spec.sourcePod.name: %s", why)
	}
	if _, why = Choose(p.Object.Spec.Strategy, kind, p.Source.Pod, verdict); why != "" {
		return refuse(ReasonPodUnsupported, "%s", why)
	}
	return nil
}

func (p *planner) checkNodes() *finding {
	target := p.Object.Spec.TargetNode
	var source *corev1.Node
	var others []corev1.Node
	for i, n := range p.Preflight.Nodes {
		if n.Name == p.status.SourceNode {
			source = &p.Preflight.Nodes[i]
		} else {
			others = append(others, n)
		}
	}
	named := target != nil && target.Name != ""
	switch {
	case source == nil:
		return hold(ReasonNodeNotFound, "the source's node %q cannot be found", p.status.SourceNode)
	case named && target.Name == source.Name:
		return refuse(ReasonInvalidSpec, "spec.targetNode.name: the pod %q runs on %q already", p.Source.Pod.Name, source.Name)
	case named && len(others) == 0:
		return refuse(ReasonNodeNotFound, "spec.targetNode.name: there is no node %q", target.Name)
	case len(others) == 0 && target != nil:
		return hold(ReasonNodeNotFound, "spec.targetNode.selector: no node but the source's matches")
	case len(others) == 0:
		return hold(ReasonNodeNotFound, "spec.targetNode: there is no node but the source's")
	}
	var why *finding
	for _, n := range others {
		if why = unfit(source, &n); why == nil {
			break
		}
	}
	if why != nil && !named {
		why.refused = false // another node may come
	}
	if why == nil && named {
		p.status.TargetNode = target.Name
	}
	return why
}

// unfit says why a node cannot take what runs on the source's.
func unfit(source, node *corev1.Node) *finding {
	from, to := source.Status.NodeInfo, node.Status.NodeInfo
	if from.Architecture != to.Architecture || from.OperatingSystem != to.OperatingSystem {
		return refuse(ReasonInvalidSpec, "spec.targetNode: %q is %s/%s, the source's node is %s/%s",
			node.Name, to.OperatingSystem, to.Architecture, from.OperatingSystem, from.Architecture)
	}
	if node.Spec.Unschedulable {
		return hold(ReasonNodeNotReady, "spec.targetNode: %q is unschedulable", node.Name)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return hold(ReasonNodeNotReady, "spec.targetNode: %q is not ready", node.Name)
}

func (p *planner) checkInstallation() *finding {
	if !p.Preflight.RuntimeClass {
		return hold(ReasonNotInstalled, "the RuntimeClass %q does not exist", v1alpha1.RuntimeClassName)
	}
	nodes := []string{p.status.SourceNode}
	if t := p.Object.Spec.TargetNode; t != nil && t.Name != "" {
		nodes = append(nodes, t.Name)
	}
	for _, n := range nodes {
		if !p.Preflight.Agents[n] {
			return hold(ReasonNotInstalled, "the node agent on %q is not ready", n)
		}
	}
	return nil
}

func (p *planner) checkBroker() *finding {
	if err := p.Preflight.Broker; err != nil {
		e := AsError(err)
		return hold(e.Reason, "spec.messageQueueConfig: %v", e.Err)
	}
	return nil
}

func (p *planner) checkQueues() *finding {
	c := p.Object.Spec.MessageQueueConfig
	if p.Preflight.Queue == nil {
		return refuse(ReasonQueueNotFound, "spec.messageQueueConfig.queueName: the broker has no queue %q", c.QueueName)
	}
	if p.Preflight.ReplayQueue != nil && !p.buffered() {
		return refuse(ReasonInvalidSpec, "spec.messageQueueConfig.replayQueueName: the broker has a queue %q already", p.replayQueue())
	}
	return nil
}

// checkLibrary asks the source who it is.
func (p *planner) checkLibrary() *finding {
	r := p.Source.Report
	if r == nil {
		plan := p.wait(p.until(p.Object.Spec.Deadlines.PendingSeconds), "HELLO of the source")
		f := hold(ReasonNoLibrary, "the library in the pod %q has not answered HELLO", p.Source.Pod.Name)
		f.plan = &plan
		return f
	}
	queue := p.Object.Spec.MessageQueueConfig.QueueName
	switch s := r.Status; {
	case r.Version != handover.Version || r.Reason == handover.ReasonVersion:
		return refuse(ReasonLibraryMismatch, "the library in the pod speaks version %d of the protocol, this manager %d", r.Version, handover.Version)
	case s.Queue != queue:
		return refuse(ReasonLibraryMismatch, "spec.messageQueueConfig.queueName is %q, but the pod consumes %q", queue, s.Queue)
	case s.Migration != "" && s.Migration != p.uid() && s.State != handover.Live:
		return hold(ReasonOtherMigration, "the source is %s in the migration %s", s.State, s.Migration)
	case s.State != handover.Live:
		return hold(ReasonNoLibrary, "the source is %s, not %s", s.State, handover.Live)
	case s.Identity == "" || s.Identity == handover.IdentityNone:
		// None has been seen yet: a message that carries one may still come.
		f := hold(ReasonNoIdentity, "the source has seen no message with an identity (message-id or the configured header): nothing better than at-least-once could be promised")
		plan := p.wait(p.until(p.Object.Spec.Deadlines.PendingSeconds), "a message with an identity")
		f.plan = &plan
		return f
	}
	return nil
}
