package controller

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// calling is a call of the kubelet that is under way. The answer comes from
// another goroutine, through the channel and through nothing else: the session
// stays the reconcile's own.
type calling struct {
	attempt int32
	called  time.Time
	before  handover.Status
	resumed bool // RESUME was sent meanwhile
	answer  chan answer
}

// answer is the kubelet's.
type answer struct {
	at      time.Time
	archive string
	err     error
}

// checkpoint calls the kubelet and does not wait: while that is at work the
// source may be told to go on (the planner decides when). If the
// process dies before the answer, the attempt is void. The call outlives its
// reconcile, not its deadline.
func (s *scope) checkpoint(ctx context.Context, a migration.Checkpoint) {
	c := &calling{attempt: a.Attempt, called: s.Clock.Now(), before: s.sourceStatus(), answer: make(chan answer, 1)}
	s.session.calling, s.session.checkpoint = c, nil
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Timeout)
	go func() {
		defer cancel()
		archive, err := s.Kubelet.Checkpoint(call, a.Node, s.key.Namespace, a.Pod, a.Container)
		c.answer <- answer{at: s.Clock.Now(), archive: archive, err: err}
		s.Sessions.wake(s.key)
	}()
}

// answered takes the kubelet's answer, if there is one.
func (s *scope) answered(ctx context.Context) {
	c := s.session.calling
	if c == nil {
		return
	}
	select {
	case a := <-c.answer:
		res := &migration.CheckpointResult{
			Attempt: c.attempt, Called: c.called, At: a.at, Archive: a.archive,
			Before: c.before, After: s.sourceStatus(), Resumed: c.resumed,
		}
		if a.err != nil {
			res.Err = checkpointError(a.err)
			log.FromContext(ctx).Info("checkpoint failed", "attempt", c.attempt, "retry", res.Err.Retry, "error", a.err.Error())
		}
		s.session.calling, s.session.checkpoint = nil, res
	default:
	}
}

func (s *scope) sourceStatus() handover.Status {
	if s.session.broker == nil {
		return handover.Status{}
	}
	heard, _ := s.session.broker.Heard(string(s.object.Status.SourcePodUID))
	return heard.Last.Status
}

// checkpointError judges an error of the kubelet.
func checkpointError(err error) *migration.Error {
	var e *kubelet.Error
	if errors.As(err, &e) && !e.Temporary {
		return migration.Fatal(migration.ReasonCheckpointFailed, err)
	}
	return migration.Passing(migration.ReasonCheckpointFailed, err)
}
