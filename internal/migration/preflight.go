package migration

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

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
	container, why := MigratedContainer(p.Source.Pod, p.Object.Spec.Container)
	if why != "" {
		return refuse(ReasonContainerNotFound, "%s", why)
	}
	p.identify(container)
	if c := containerStatus(p.Source.Pod, container); c == nil || c.State.Running == nil {
		return hold(ReasonPodNotRunning, "spec.container: the container %q is not running", container)
	}
	return nil
}

// checkOwner finds out who would make the pod again.
func (p *planner) checkOwner() *finding {
	ref, kind, refusal := owner.Of(p.Source.Pod)
	if refusal != "" {
		return refuse(ReasonPodUnsupported, "spec.sourcePod.name: %s", refusal)
	}
	p.status.Owner = ref
	if ref == nil {
		return nil
	}
	ref.Revision = p.Source.Pod.Labels[map[owner.Kind]string{
		owner.StatefulSet: appsv1.StatefulSetRevisionLabel, owner.ReplicaSet: appsv1.DefaultDeploymentUniqueLabelKey,
	}[kind]]
	switch {
	case p.Owner == nil:
		return hold(ReasonOwnerChanged, "the %s %q, which the pod belongs to, is not known yet", ref.Kind, ref.Name)
	case p.Owner.Unwanted(ref.UID, p.Source.Pod.Name) != "":
		return refuse(ReasonOwnerChanged, "spec.sourcePod.name: %s", p.Owner.Unwanted(ref.UID, p.Source.Pod.Name))
	case p.Owner.Rollout(p.Source.Pod) != "":
		return hold(ReasonRollout, "spec.sourcePod.name: %s", p.Owner.Rollout(p.Source.Pod))
	case p.Owner.Ordered && p.Owner.Unready > 0:
		return hold(ReasonOwnerChanged, "spec.sourcePod.name: %d pods of the StatefulSet %q are not Ready, and with podManagementPolicy OrderedReady it may not make this one again before they are",
			p.Owner.Unready, p.Owner.Name)
	}
	return nil
}

// checkShape refuses pods that a copy on another node cannot be the same as.
func (p *planner) checkShape() *finding {
	if why := Shape(p.Source.Pod, p.status.Container); why != "" {
		return refuse(ReasonPodUnsupported, "spec.sourcePod.name: %s", why)
	}
	return nil
}

func (p *planner) checkVolumes() *finding {
	p.volumes = Volumes(p.Source.Pod, p.status.Container, p.Preflight.Claims)
	if why := p.volumes.Refused; why != "" {
		return refuse(ReasonPodUnsupported, "spec.sourcePod.name: %s", why)
	}
	return nil
}

// checkStrategy resolves Auto.
func (p *planner) checkStrategy() *finding {
	_, kind, _ := owner.Of(p.Source.Pod)
	strategy, why := Choose(p.settings.Strategy, kind, p.Source.Pod, p.volumes)
	if why != "" {
		return refuse(ReasonPodUnsupported, "%s%s", why, p.byPolicy(p.Object.Spec.Strategy == p.settings.Strategy))
	}
	p.status.Strategy = strategy
	if kind == owner.ReplicaSet {
		copied := p.Source.Pod.DeepCopy()
		delete(copied.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		if _, why := Unseen(copied, *p.Owner); why != "" {
			return refuse(ReasonPodUnsupported, "spec.sourcePod.name: %s", why)
		}
	}
	return nil
}

func (p *planner) checkProbes() *finding {
	if why := ProbeBudget(p.Source.Pod, p.status.Container, p.Policy.ProbeBudget); why != "" {
		return refuse(ReasonProbeBudget, "spec.sourcePod.name: %s", why)
	}
	return nil
}

func (p *planner) checkPermissions() *finding {
	if missing := p.Preflight.Forbidden; len(missing) > 0 {
		return hold(ReasonForbidden, "the manager may not %s: its ClusterRole is not the one of this version: upgrade MS2M by its chart, or by install.yaml", strings.Join(missing, ", "))
	}
	return nil
}

func (p *planner) checkRepository() *finding {
	if p.settings.CheckpointImageRepository == "" {
		return refuse(ReasonInvalidSpec, "spec.checkpointImageRepository: nobody says where the checkpoint is to be pushed: set it, or defaults.checkpointImageRepository of a MigrationPolicy that selects the pod")
	}
	if err := p.Preflight.Repository; err != nil {
		e := AsError(err)
		return &finding{reason: ReasonRepository, message: fmt.Sprintf("spec.checkpointImageRepository: %v%s", e.Err, p.byPolicy(p.Object.Spec.CheckpointImageRepository != ""))}
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
	for _, queue := range p.Object.Spec.MessageQueueConfig.Queues() {
		if p.Preflight.Queues[queue] == nil {
			return refuse(ReasonQueueNotFound, "%s: the broker has no queue %q", p.queueField(), queue)
		}
	}
	if p.Preflight.ReplayQueue != nil && !p.buffered() {
		return refuse(ReasonInvalidSpec, "spec.messageQueueConfig.replayQueueName: the broker has a queue %q already", p.replayQueue())
	}
	return nil
}

// queueField is where the primary queues are named.
func (p *planner) queueField() string {
	if len(p.Object.Spec.MessageQueueConfig.QueueNames) > 0 {
		return "spec.messageQueueConfig.queueNames"
	}
	return "spec.messageQueueConfig.queueName"
}

func quoted(names []string) string {
	return strings.Trim(fmt.Sprintf("%q", names), "[]")
}

// checkLibrary asks the source who it is.
func (p *planner) checkLibrary() *finding {
	r := p.Source.Report
	if r == nil {
		plan := p.wait(p.readyBy(), "HELLO of the source")
		f := hold(ReasonNoLibrary, "the library in the pod %q has not answered HELLO", p.Source.Pod.Name)
		f.plan = &plan
		return f
	}
	queues, consumed := p.Object.Spec.MessageQueueConfig.Queues(), slices.Sorted(slices.Values(r.Status.Primaries()))
	switch s := r.Status; {
	case r.Version != handover.Version || r.Reason == handover.ReasonVersion:
		return refuse(ReasonLibraryMismatch, "the library in the pod speaks version %d of the protocol, this manager %d", r.Version, handover.Version)
	case !slices.Equal(consumed, queues):
		return refuse(ReasonLibraryMismatch, "%s: named %s, but the pod consumes %s", p.queueField(), quoted(queues), quoted(consumed))
	case s.Migration != "" && s.Migration != p.uid() && s.State != handover.Live:
		return hold(ReasonOtherMigration, "the source is %s in the migration %s", s.State, s.Migration)
	case s.State != handover.Live:
		return hold(ReasonNoLibrary, "the source is %s, not %s", s.State, handover.Live)
	case s.Identity == "" || s.Identity == handover.IdentityNone:
		// None has been seen yet: a message that carries one may still come.
		f := hold(ReasonNoIdentity, "the source has seen no message with an identity (message-id or the configured header): nothing better than at-least-once could be promised")
		plan := p.wait(p.readyBy(), "a message with an identity")
		f.plan = &plan
		return f
	}
	return nil
}
