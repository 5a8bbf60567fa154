package migration

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// mostAttempts is how many checkpoints one hand-over may take.
func (p *planner) mostAttempts() int32 { return p.settings.BackoffLimit + 1 }

// totalAt is the deadline of the whole migration; zero: it has none, or has not
// been let in yet.
func (p *planner) totalAt() time.Time {
	total := p.settings.Deadlines.TotalSeconds
	if total == 0 || p.status.StartedAt == nil {
		return time.Time{}
	}
	return p.status.StartedAt.Add(seconds(total))
}

func (p *planner) overTotal() bool {
	at := p.totalAt()
	return !at.IsZero() && p.late(at)
}

func (p *planner) giveUpOverdue() Plan {
	deadline := fmt.Sprintf("deadlines.totalSeconds (%d), in the phase %s", p.settings.Deadlines.TotalSeconds, p.status.Phase)
	kind, _ := p.concerned()
	return p.giveUp(ReasonDeadline, p.overdue(kind, deadline))
}

// noteOverdue tells of a deadline that has passed when there is no way back any
// more: after COMMIT, and when the state has left the StatefulSet's pod.
func (p *planner) noteOverdue() {
	if p.overTotal() && p.status.EndedAt == nil && (p.committed() || p.status.Hop > 1) {
		p.set(v1alpha1.ConditionOverdue, metav1.ConditionTrue, ReasonDeadline,
			"not done within deadlines.totalSeconds (%d): the migration goes on, because its commit point lies behind it", p.settings.Deadlines.TotalSeconds)
	}
}

// ExpiresAt is when an ended migration is to be deleted, if it is.
func ExpiresAt(m *v1alpha1.StatefulMigration) (at time.Time, expires bool) {
	ttl := m.Spec.TTLSecondsAfterFinished
	if m.Status.Settings != nil {
		ttl = m.Status.Settings.TTLSecondsAfterFinished
	}
	if ttl == nil || m.Status.Phase != v1alpha1.PhaseCompleted && m.Status.Phase != v1alpha1.PhaseFailed {
		return at, false
	}
	switch c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSucceeded); {
	case m.Status.EndedAt != nil:
		at = m.Status.EndedAt.Time
	case c != nil: // it was ended by a manager that did not note the time
		at = c.LastTransitionTime.Time
	}
	return at.Add(seconds(*ttl)), true
}
