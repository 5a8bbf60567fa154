package migration

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

func (p *planner) uid() string { return string(p.Object.UID) }

// id is the identity of the present hop.
func (p *planner) id() string { return hopID(p.Object.UID, p.status.Hop) }

// sourceName is the name of the present hop's source.
func (p *planner) sourceName() string { return SourceName(p.Object, p.status) }

// SourceName is the name of the present hop's source.
func SourceName(m *v1alpha1.StatefulMigration, st *v1alpha1.StatefulMigrationStatus) string {
	if st.SourcePodName != "" {
		return st.SourcePodName
	}
	return m.Spec.SourcePod.Name
}

func (p *planner) instance(role Role) Instance {
	if role == RoleTarget {
		return p.Target
	}
	return p.Source
}

func (p *planner) podUID(role Role) types.UID {
	if role == RoleTarget {
		return p.status.TargetPodUID
	}
	return p.status.SourcePodUID
}

// alive reports whether the pod of the status' UID is there and has not ended.
// A pod of the same name and another UID is somebody else.
func (p *planner) alive(role Role) bool {
	pod, uid := p.instance(role).Pod, p.podUID(role)
	return pod != nil && uid != "" && pod.UID == uid &&
		pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded
}

// present reports whether the pod of the status' UID is still an object: only
// when it is gone is its process proven gone.
func (p *planner) present(role Role) bool {
	pod, uid := p.instance(role).Pod, p.podUID(role)
	return pod != nil && uid != "" && pod.UID == uid
}

// state is the instance's state with regard to this migration.
func (p *planner) state(role Role) handover.State { return p.instance(role).State() }

// ours reports whether the instance's last report is about this migration.
func (p *planner) ours(role Role) bool {
	r := p.instance(role).Report
	return r != nil && r.Status.Migration == p.id()
}

// ownerOnly reports whether the service answers as the state's owner only: then
// its copy may be Ready before it is live.
func (p *planner) ownerOnly() bool {
	for _, r := range []*handover.Report{p.Source.Report, p.Target.Report} {
		if r != nil && r.Status.OwnerOnly {
			return true
		}
	}
	return false
}

// replayQueue is the name of the replay queue.
func (p *planner) replayQueue() string {
	return ReplayQueue(p.Object, p.status.Hop)
}

// ReplayQueue is the name of a hop's replay queue.
func ReplayQueue(m *v1alpha1.StatefulMigration, hop int32) string {
	switch name := m.Spec.MessageQueueConfig.ReplayQueueName; {
	case name == "":
		return handover.ReplayQueue(hopID(m.UID, hop))
	case hop > 1:
		return fmt.Sprintf("%s-%d", name, hop)
	default:
		return name
	}
}

// holdKeys are the keys of the holds that a hop may have set.
func (p *planner) holdKeys(hop int32, source string, uid types.UID) []string {
	keys := []string{
		hopID(p.Object.UID, hop),
		handover.PodSlot(p.Object.Namespace, source),
	}
	for _, queue := range p.Object.Spec.MessageQueueConfig.Queues() {
		keys = append(keys, handover.QueueSlot(queue))
	}
	if uid != "" {
		keys = append(keys, string(uid))
	}
	return keys
}

// decided is what is known about the decision, from the broker itself or from
// an instance that has read it there.
func (p *planner) decided() Verdict {
	if p.Decision == Committed || p.Decision == Aborted {
		return p.Decision
	}
	if c := p.get(v1alpha1.ConditionCommitted); c != nil && c.Status == metav1.ConditionFalse {
		// Recorded. What stood at the broker may be removed by now, and the instance
		// that told of it be gone: it must not be written anew.
		return Aborted
	}
	// Only COMMIT leads to these two states.
	if p.state(RoleTarget) == handover.Live || p.ours(RoleSource) && p.state(RoleSource) == handover.Retired {
		return Committed
	}
	for _, role := range []Role{RoleTarget, RoleSource} {
		if !p.ours(role) {
			continue
		}
		switch p.instance(role).Report.Status.Decision {
		case handover.Commit:
			return Committed
		case handover.Aborted:
			return Aborted
		}
	}
	return p.Decision
}

// whyAborted finds the reason in the words of the instance that gave up.
func (p *planner) whyAborted() (reason, message string) {
	for _, role := range []Role{RoleTarget, RoleSource} {
		if r := p.instance(role).Report; p.ours(role) && r.Reason != "" && r.Reason != handover.ReasonAborted {
			return string(r.Reason), "the " + string(role) + " gave up: " + words(r)
		}
	}
	return ReasonAborted, "ABORT stands at the broker: an instance gave up (its lease or its deadline passed)"
}

// words is a report's message, or at least its reason.
func words(r *handover.Report) string {
	if r.Message != "" {
		return r.Message
	}
	return string(r.Reason)
}

// sourceTrouble says why the migration cannot go on with this source; ok means
// that nothing is known against it.
func (p *planner) sourceTrouble() (reason, message string, ok bool) {
	if reason, message, lost := p.sourceLost(); lost {
		return reason, message, false
	}
	switch p.state(RoleSource) {
	case handover.Live:
		if p.is(v1alpha1.ConditionCheckpointed) {
			return ReasonAborted, "the source has left the migration: it is Live and does not relay", false
		}
	case handover.Void, handover.Restored, handover.Replaying:
		return ReasonSourceRestarted, "the source pod answers as a copy: " + string(p.state(RoleSource)), false
	}
	return "", "", true
}

// targetTrouble says why this target cannot take over.
func (p *planner) targetTrouble() (reason, message string, ok bool) {
	pod := p.Target.Pod
	switch {
	case pod == nil || pod.UID != p.status.TargetPodUID:
		return ReasonTargetLost, "the target pod is gone", false
	case pod.DeletionTimestamp != nil:
		return ReasonTargetLost, "the target pod is being deleted", false
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return ReasonTargetLost, "the target pod has ended: " + pod.Status.Reason + " " + pod.Status.Message, false
	}
	if r := p.Target.Report; r != nil {
		switch r.Status.State {
		case handover.Void:
			return reasonOf(r, ReasonRestoreFailed), "the target gave up: " + words(r), false
		case handover.Held:
			return ReasonRestoreFailed, "the target started fresh instead of being restored", false
		}
	}
	return "", "", true
}

// targetMute gives the migration up if its target has not been heard of for as
// long as an instance goes without hearing from a manager: nobody knows whether
// the copy lives, and a source that is frozen for it stands still. Where the copy is
// the only heir it is waited for, until the deadline. nil: it was heard of.
func (p *planner) targetMute() *Plan {
	if p.sequential() || p.takesOver() || !p.Target.silent(p.Now, p.Policy.Lease) {
		return nil
	}
	plan := p.giveUp(ReasonTargetLost, "the target has not been heard of for "+p.Policy.Lease.String())
	return &plan
}

func reasonOf(r *handover.Report, otherwise string) string {
	if r.Reason != "" {
		return string(r.Reason)
	}
	return otherwise
}

// targetMayAnswer reports whether a process can run in the target already:
// before that, asking it is noise at the broker.
func (p *planner) targetMayAnswer() bool {
	if p.Stage != nil && complete(p.Stage).Status == "True" {
		return true
	}
	c := containerStatus(p.Target.Pod, p.status.Container)
	return c != nil && c.State.Running != nil
}

func containerStatus(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	if pod == nil {
		return nil
	}
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].Name == name {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}
