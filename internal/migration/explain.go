package migration

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Explain is the status that says why the next action is not done yet.
func Explain(m *v1alpha1.StatefulMigration, now time.Time, e *Error) v1alpha1.StatefulMigrationStatus {
	p := &planner{Facts: Facts{Now: now, Object: m}, status: m.Status.DeepCopy()}
	if kind, status := p.concerned(); kind != "" {
		p.set(kind, status, reasonWord(e.Reason), e.Err.Error())
	}
	return *p.status
}

// concerned is the condition that an obstacle concerns, and what it leaves it.
func (p *planner) concerned() (kind string, status metav1.ConditionStatus) {
	switch {
	case p.committed():
		return v1alpha1.ConditionSucceeded, metav1.ConditionUnknown
	case p.givingUp() && !meta.IsStatusConditionFalse(p.status.Conditions, v1alpha1.ConditionCommitted):
		return v1alpha1.ConditionCommitted, metav1.ConditionUnknown
	case p.givingUp():
		return "", "" // why it failed says more than what is still in the way
	}
	switch p.status.Phase {
	case "", v1alpha1.PhasePending:
		return v1alpha1.ConditionReady, metav1.ConditionFalse
	case v1alpha1.PhaseCheckpointing:
		if !p.is(v1alpha1.ConditionBuffered) {
			return v1alpha1.ConditionBuffered, metav1.ConditionUnknown
		}
		return v1alpha1.ConditionCheckpointed, metav1.ConditionFalse
	case v1alpha1.PhaseTransferring:
		return v1alpha1.ConditionTransferred, metav1.ConditionFalse
	case v1alpha1.PhaseRestoring:
		return v1alpha1.ConditionRestored, metav1.ConditionFalse
	}
	// Replayed says whether END_REPLAY is written, which must not be lost.
	return "", ""
}
