package migration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// sourceLost says why the source's process is known to have ended.
func (p *planner) sourceLost() (reason, message string, lost bool) {
	switch pod := p.Source.Pod; {
	case pod == nil:
		return ReasonSourceLost, "the source pod is gone", true
	case pod.UID != p.status.SourcePodUID:
		return ReasonSourceLost, "the source pod was replaced by another of its name", true
	case !p.alive(RoleSource):
		return ReasonSourceLost, "the source pod has ended: " + string(pod.Status.Phase), true
	case p.state(RoleSource) == handover.Held:
		return ReasonSourceRestarted, "the source's container was restarted: its state is lost with the process", true
	}
	return "", "", false
}

// takesOver reports whether the migration can go on without the source: its
// process has ended, but there is a good image, and what it did since stands in
// the replay queue. Whether its connection has ended, too, the target finds
// out (docs/decisions/0009).
func (p *planner) takesOver() bool {
	_, _, lost := p.sourceLost()
	return lost && p.is(v1alpha1.ConditionCheckpointed)
}

// needSource gives the migration up if it needs a source that it has not got;
// nil: it can go on.
func (p *planner) needSource() *Plan {
	reason, message, ok := p.sourceTrouble()
	switch {
	case ok:
		return nil
	case p.takesOver():
		p.set(v1alpha1.ConditionTakeover, metav1.ConditionTrue, reason, message+"; the copy goes on from the image and the replay queue")
		return nil
	}
	plan := p.giveUp(reason, message)
	return &plan
}
