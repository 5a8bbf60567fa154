package migration

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/nodefacts"
	"ms2m.dev/ms2m/internal/owner"
)

// leastDisk is what has to be free for any checkpoint, in bytes.
const leastDisk = 256 << 20

// checkNodes finds the nodes that the pod may go to.
func (p *planner) checkNodes() *finding {
	target := p.Object.Spec.TargetNode
	p.candidates = nil
	var source candidate
	for i, n := range p.Preflight.Nodes {
		if n.Name == p.Source.Pod.Spec.NodeName {
			source = &p.Preflight.Nodes[i]
		} else {
			p.candidates = append(p.candidates, &p.Preflight.Nodes[i])
		}
	}
	switch {
	case source == nil:
		return hold(ReasonNodeNotFound, "the source's node %q cannot be found", p.Source.Pod.Spec.NodeName)
	case p.named() && target.Name == source.Name:
		return refuse(ReasonInvalidSpec, "spec.targetNode.name: the pod %q runs on %q already", p.Source.Pod.Name, source.Name)
	case p.named() && len(p.candidates) == 0:
		return refuse(ReasonNodeNotFound, "spec.targetNode.name: there is no node %q", target.Name)
	case len(p.candidates) == 0 && target != nil:
		return hold(ReasonNodeNotFound, "spec.targetNode.selector: no node but the source's matches")
	case len(p.candidates) == 0:
		return hold(ReasonNodeNotFound, "spec.targetNode: there is no node but the source's")
	}
	if f := p.narrow(func(n candidate) *finding { return unfit(source, n) }); f != nil {
		return f
	}
	return p.narrow(p.unwelcome)
}

// named reports whether the spec names one node.
func (p *planner) named() bool {
	return p.Object.Spec.TargetNode != nil && p.Object.Spec.TargetNode.Name != ""
}

// narrow leaves the candidates that nothing stands against. If none is left, what
// stands against the last is the finding: another node may come, unless one is named.
func (p *planner) narrow(look func(candidate) *finding) *finding {
	var kept []candidate
	var why *finding
	for _, n := range p.candidates {
		if f := look(n); f != nil {
			why = f
			continue
		}
		kept = append(kept, n)
	}
	if len(kept) == 0 {
		if why != nil {
			why.refused = why.refused && p.named()
		}
		return why
	}
	p.candidates = kept
	return nil
}

// unfit says why a node cannot take what runs on the source's.
func unfit(source, node candidate) *finding {
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

// unwelcome says why a node is not for this pod: its volumes cannot follow, or,
// if its owner is to make it again there, its own node affinity forbids it.
func (p *planner) unwelcome(node candidate) *finding {
	if why := NodeFits(p.Preflight.Claims, node); why != "" {
		return refuse(ReasonPodUnsupported, "spec.targetNode: %s", why)
	}
	if !p.ownedBy(owner.StatefulSet) {
		return nil // the copy goes without such a pin
	}
	pod := p.Source.Pod.DeepCopy()
	delete(pod.Spec.NodeSelector, corev1.LabelHostname) // it is set to the target's
	switch ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); {
	case err != nil:
		return refuse(ReasonPodUnsupported, "spec.sourcePod.name: the node affinity of the pod %q cannot be read: %v", pod.Name, err)
	case !ok:
		return refuse(ReasonPodUnsupported, "spec.targetNode: the pod %q is not for %q, by its nodeSelector or node affinity", pod.Name, node.Name)
	}
	return nil
}

// checkAgents looks for what restores: the RuntimeClass, and an agent that is
// ready, which it is when containerd has our shim.
func (p *planner) checkAgents() *finding {
	if !p.Preflight.RuntimeClass {
		return hold(ReasonNotInstalled, "the RuntimeClass %q does not exist", v1alpha1.RuntimeClassName)
	}
	absent := func(node string) *finding {
		if _, ready := p.Preflight.Agents[node]; ready {
			return nil
		}
		return hold(ReasonNotInstalled, "the node agent on %q is not ready", node)
	}
	if f := absent(p.Source.Pod.Spec.NodeName); f != nil {
		return f
	}
	return p.narrow(func(n candidate) *finding { return absent(n.Name) })
}

// checkCompatibility compares what CRIU depends on.
func (p *planner) checkCompatibility() *finding {
	source, f := p.facts(p.Source.Pod.Spec.NodeName)
	if f != nil {
		return f
	}
	return p.narrow(func(n candidate) *finding {
		target, f := p.facts(n.Name)
		if f != nil {
			return f
		}
		if why := nodefacts.Incompatible(source, target); why != "" {
			return refuse(ReasonNodeMismatch, "spec.targetNode: a checkpoint from %q cannot be restored on %q: %s", p.Source.Pod.Spec.NodeName, n.Name, why)
		}
		return nil
	})
}

// facts are what a node's agent says of it.
func (p *planner) facts(node string) (v1alpha1.NodeFacts, *finding) {
	facts, err := nodefacts.Decode(p.Preflight.Agents[node])
	if err != nil {
		return facts, hold(ReasonNotInstalled, "the node agent on %q has not said what its node is like: %v", node, err)
	}
	return facts, nil
}

// checkDisk looks for room for the archive and for what is laid out of it: at
// least for the memory that the container asks for.
func (p *planner) checkDisk() *finding {
	need := int64(leastDisk)
	for _, c := range p.Source.Pod.Spec.Containers {
		if c.Name == p.status.Container {
			need = max(need, c.Resources.Requests.Memory().Value())
		}
	}
	source, f := p.facts(p.Source.Pod.Spec.NodeName)
	switch {
	case f != nil:
		return f
	case source.ArchiveFreeBytes < need:
		return hold(ReasonDiskFull, "the node %q has %d MiB free for archives of checkpoints, %d are needed", p.Source.Pod.Spec.NodeName, source.ArchiveFreeBytes>>20, need>>20)
	}
	f = p.narrow(func(n candidate) *finding {
		target, f := p.facts(n.Name)
		if f == nil && target.StageFreeBytes < need {
			f = hold(ReasonDiskFull, "spec.targetNode: %q has %d MiB free for staged checkpoints, %d are needed", n.Name, target.StageFreeBytes>>20, need>>20)
		}
		return f
	})
	if f == nil {
		p.destine()
	}
	return f
}

// destine fixes the target node, if it has to be known before there is a target
// pod that the scheduler could place: a named one, or for a pod that is made again
// in the source's place the first of those that are left.
func (p *planner) destine() {
	if p.named() || p.sequential() {
		p.status.TargetNode = p.candidates[0].Name
	}
	if p.sequential() {
		p.status.TargetPodName = p.Source.Pod.Name
	}
}
