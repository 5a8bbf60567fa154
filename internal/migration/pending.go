package migration

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// finding is what a check of the preflight has against the migration.
type finding struct {
	reason  string
	message string
	refused bool // waiting does not help
	plan    *Plan
}

func refuse(reason, message string, args ...any) *finding {
	return &finding{reason: reason, message: fmt.Sprintf(message, args...), refused: true}
}

func hold(reason, message string, args ...any) *finding {
	return &finding{reason: reason, message: fmt.Sprintf(message, args...)}
}

// checks in their order: what costs nothing first, the broker and the library last.
var checks = []func(*planner) *finding{
	(*planner).checkNamespace,
	(*planner).checkSourcePod,
	(*planner).checkRival,
	(*planner).checkContainer,
	(*planner).checkShape,
	(*planner).checkNodes,
	(*planner).checkInstallation,
	(*planner).checkBroker,
	(*planner).checkQueues,
	(*planner).checkLibrary,
}

// pending finds out whether the pod can be migrated. What can never be is
// refused at once, what may come up is waited for until the deadline.
func (p *planner) pending() Plan {
	p.enter(v1alpha1.PhasePending)
	deadline := p.until(p.Object.Spec.Deadlines.PendingSeconds)
	for _, check := range checks {
		f := check(p)
		switch {
		case f == nil:
			continue
		case f.refused:
			p.set(v1alpha1.ConditionReady, metav1.ConditionFalse, f.reason, f.message)
			return p.giveUp(f.reason, f.message)
		case p.late(deadline):
			p.set(v1alpha1.ConditionReady, metav1.ConditionFalse, f.reason, f.message)
			return p.giveUp(f.reason, fmt.Sprintf("not ready within deadlines.pendingSeconds (%d): %s",
				p.Object.Spec.Deadlines.PendingSeconds, f.message))
		}
		p.set(v1alpha1.ConditionReady, metav1.ConditionFalse, f.reason, f.message)
		if f.plan != nil {
			return *f.plan
		}
		return Plan{Until: earlier(p.Now.Add(p.Policy.Poll), deadline), For: f.message}
	}
	p.set(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady, "the pod can be migrated")
	p.enter(v1alpha1.PhaseCheckpointing)
	return p.checkpointing()
}
