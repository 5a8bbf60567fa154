package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/eval/measure"
	"ms2m.dev/ms2m/test/eval/report"
	"ms2m.dev/ms2m/test/harness"
)

const (
	// readRate is how often the count is read, per second, through the Service.
	readRate = 20
	// tidying bounds the removal of a service.
	tidying = 2 * time.Minute
)

// run tries a case with a service of its own.
func (e *evaluation) run(ctx context.Context, c report.Case, number, round int) report.Run {
	r := report.Run{Case: c, Number: number, Round: round, Begun: time.Now()}
	within, cancel := context.WithTimeoutCause(ctx, e.timeout, fmt.Errorf("not done in %v", e.timeout))
	defer cancel()
	s, err := e.start(within, c, fmt.Sprintf("c-%s-%d", e.series, number))
	if err != nil {
		r.Failed = fmt.Sprintf("start the service: %v", err)
		return r
	}
	err = e.move(within, s, &r)
	if err = errors.Join(err, e.tidy(ctx, s, c.Way)); err != nil {
		r.Failed = err.Error()
	}
	return r
}

// tidy removes a service and its migration.
func (e *evaluation) tidy(ctx context.Context, s *service, w report.Way) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
	defer cancel()
	if w != report.Cold {
		err = e.lab.DeleteMigration(ctx, s.flow.Migration(s.target))
	}
	return errors.Join(err, s.close(ctx))
}

// move moves the service under load and measures, also who reads and what is used up.
func (e *evaluation) move(ctx context.Context, s *service, r *report.Run) error {
	before, err := e.used(ctx)
	if err != nil {
		return err
	}
	reader := harness.StartReader(ctx, s.url+"/count", readRate)
	err = e.judged(ctx, s, r)
	seen := reader.Finish()
	r.Reads, r.Refused, r.Stale, r.SlowestRead = seen.Number, len(seen.Errors), seen.Stale, seen.Slowest
	if r.Refused > 0 {
		r.ReadError = seen.Errors[0].Error()
	}
	after, failed := e.used(ctx)
	if failed != nil {
		return errors.Join(err, failed)
	}
	r.Used = between(before, after)
	return err
}

// between is what the programs have used up from one time to another.
func between(before, after map[string]measure.Usage) map[string]measure.Usage {
	used := make(map[string]measure.Usage)
	for _, p := range report.Programs {
		used[p] = measure.Usage{CPU: max(0, after[p].CPU-before[p].CPU), Memory: after[p].Memory}
	}
	return used
}

// judged moves the service under load, and tells what became of its messages.
func (e *evaluation) judged(ctx context.Context, s *service, r *report.Run) error {
	outcome, err := e.underLoad(ctx, s, r)
	if outcome == nil {
		return err
	}
	r.Judged, r.Sent, r.State, r.Outputs = true, outcome.Sent, outcome.State, outcome.Outputs
	r.ChainEqual, r.SameProcess = outcome.ChainEqual, outcome.SameMemory()
	events := measure.Events(s.flow.Generator.Due(), outcome.Received)
	end := r.Begun.Add(r.Total)
	r.LongestGap, r.Gaps = measure.Gaps(events, r.Begun, end, leastGap)
	r.Before, r.During, r.After = measure.Latencies(events, r.Begun, end)
	return err
}

// underLoad lets the load run, moves the service, lets the load run on, and judges.
func (e *evaluation) underLoad(ctx context.Context, s *service, r *report.Run) (*harness.Outcome, error) {
	if err := s.flow.Counted(ctx, 1); err != nil {
		return nil, err
	}
	if err := e.warmUp(ctx, s, r); err != nil {
		return nil, err
	}
	if r.Way == report.Cold {
		return e.cold(ctx, s, r)
	}
	held := holder{flow: s.flow, off: r.Way != report.StopAndCopy}
	move, err := s.flow.Migrate(ctx, harness.MoveConfig{
		Target: s.target,
		Change: func(m *v1alpha1.StatefulMigration) {
			m.Spec.ReplayCutoffSeconds = int32(e.cutoff)
			if r.Way == report.Sequential {
				m.Spec.Strategy = v1alpha1.StrategySequential
			}
		},
		Tell: func(m *v1alpha1.StatefulMigration) { held.tell(ctx, m) },
	})
	if move != nil && move.Migration != nil {
		r.Begun, r.Total = move.Begun, move.Total
		ofStatus(r, move.Migration.Status)
		if began := move.Migration.Status.StartedAt; began != nil {
			r.Queued = max(0, began.Sub(move.Begun)) // the manager's clock is this machine's
		}
	}
	if err = errors.Join(err, held.err); err != nil {
		if move != nil && move.Sent > 0 { // judged where it is
			return &move.Outcome, err
		}
		return nil, err
	}
	if err := wait(ctx, e.after); err != nil {
		return nil, err
	}
	o, err := s.flow.Finish(ctx, move.Target)
	if err != nil {
		return nil, err
	}
	if on := move.Target.Spec.NodeName; on != s.target {
		return &o, fmt.Errorf("the pod is on %s, not on %s", on, s.target)
	}
	return &o, nil
}

// warmUp lets the load run before the move, and measures what of it the broker takes
// and the service gets done.
func (e *evaluation) warmUp(ctx context.Context, s *service, r *report.Run) error {
	begin, sent, done := time.Now(), s.flow.Generator.Confirmed(), s.flow.Collector.Count()
	if err := wait(ctx, e.warm); err != nil {
		return err
	}
	if took := time.Since(begin).Seconds(); took > 0 {
		r.SentRate = float64(s.flow.Generator.Confirmed()-sent) / took
		r.DoneRate = float64(s.flow.Collector.Count()-done) / took
	}
	return nil
}

func (e *evaluation) cold(ctx context.Context, s *service, r *report.Run) (*harness.Outcome, error) {
	c, err := s.flow.Cold(ctx, s.target)
	if err != nil {
		return nil, err
	}
	r.Begun, r.Total, r.Forgotten = c.Begun, c.Refilled.Sub(c.Begun), c.Memory
	r.Phases = map[v1alpha1.MigrationPhase]time.Duration{report.ColdStop: c.Stop, report.ColdStart: c.Start, report.ColdRefill: c.Refill}
	if err := wait(ctx, e.after); err != nil {
		return nil, err
	}
	o, err := s.flow.FinishCold(ctx)
	if err != nil {
		return nil, err
	}
	return &o, nil
}

// holder makes a migration a stop-and-copy: from the checkpoint until the copy owns
// the queue the producers keep what is due, as the queue would for a source that is stopped.
type holder struct {
	flow     *harness.Flow
	off      bool
	held     bool
	released bool
	err      error
}

func (h *holder) tell(ctx context.Context, m *v1alpha1.StatefulMigration) {
	switch over := harness.Ended(m) || meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionCommitted); {
	case h.off || h.released:
	case over && h.held:
		h.flow.Generator.Release()
		h.released = true
	case !over && !h.held && m.Status.Phase != "" && m.Status.Phase != v1alpha1.PhasePending:
		h.held = true
		h.err = h.flow.Generator.Hold(ctx)
	}
}

// ofStatus adds what the migration's status says: of all hand-overs together.
func ofStatus(r *report.Run, s v1alpha1.StatefulMigrationStatus) {
	r.Phases = make(map[v1alpha1.MigrationPhase]time.Duration)
	add := func(times []v1alpha1.PhaseTime, pauses *v1alpha1.Pauses, image *v1alpha1.CheckpointImage) {
		for _, t := range times {
			if t.DurationMillis != nil && t.Phase != v1alpha1.PhaseCompleted && t.Phase != v1alpha1.PhaseFailed {
				r.Phases[t.Phase] += millis(t.DurationMillis)
			}
		}
		if pauses != nil {
			r.PauseCheckpoint += millis(pauses.CheckpointMillis)
			if p := pauses.Checkpoint; p != nil && p.Node != nil {
				r.Freeze += time.Duration(p.Node.FreezingMillis+p.Node.FrozenMillis) * time.Millisecond
			}
			r.PauseHandover += millis(pauses.HandoverMillis)
		}
		if image != nil {
			r.Image += image.SizeBytes
			r.Archive += image.ArchiveBytes
		}
		r.Handovers++
	}
	last := int32(0)
	for _, h := range s.Hops {
		add(h.PhaseTimes, h.Pauses, h.CheckpointImage)
		last = h.Hop
	}
	if last < max(s.Hop, 1) {
		add(s.PhaseTimes, s.Pauses, s.CheckpointImage)
	}
	if s.Cutoff != nil {
		r.CutoffReason = s.Cutoff.Reason
	}
}

func millis(ms *int64) time.Duration {
	if ms == nil {
		return 0
	}
	return time.Duration(*ms) * time.Millisecond
}

// wait lets the load run for a time.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
