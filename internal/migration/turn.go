package migration

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Turn is why a migration that can begin has to wait.
type Turn struct {
	Ahead   int32  // how many that wait come first
	Reason  string // see package queue
	Message string
}

// waitTurn waits until others have ended, which wakes it: nothing is looked at
// meanwhile but whether the pod is still there, and nobody is asked anything.
func (p *planner) waitTurn() Plan {
	if f := p.examineOne(check{checkedSourcePod, nil, (*planner).checkSourcePod}); f != nil && f.refused {
		p.status.Queued = nil
		p.set(v1alpha1.ConditionReady, metav1.ConditionFalse, f.reason, f.message)
		return p.giveUp(f.reason, f.message)
	}
	since := metav1.NewMicroTime(p.Now)
	q := p.status.Queued
	if q != nil {
		since = q.Since
	}
	if q == nil || Outdated(q, p.Turn.Ahead) {
		p.status.Queued = &v1alpha1.Queued{
			Since: since, Ahead: p.Turn.Ahead, Reason: p.Turn.Reason,
			Message: fmt.Sprintf("%s; %d that wait come first", p.Turn.Message, p.Turn.Ahead),
		}
	}
	return Plan{For: "its turn: " + p.status.Queued.Message}
}

// Outdated reports whether it is worth writing how many are ahead now. A write
// for each migration that ends, in each that waits, would make a queue cost the
// square of its length; with the half of it there are a few in its whole life.
func Outdated(q *v1alpha1.Queued, ahead int32) bool {
	return ahead != q.Ahead && ahead <= q.Ahead/2
}
