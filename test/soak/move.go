package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// progress is how many more messages the counter must have counted after a move.
const progress = 25

// soak is a counter that is moved and moved.
type soak struct {
	options
	lab    *harness.Lab
	flow   *harness.Flow
	pod    *corev1.Pod // that the counter lives in now
	begin  time.Time
	random *rand.Rand
	tally  map[kind]*row // by fault
	leaks  leaks
}

// errVerdict is what a soak ends with that found something.
var errVerdict = errors.New("the soak is not good")

func (s *soak) run(ctx context.Context) error {
	every := max(s.moves/10, 1)
	for n := 1; n <= s.moves; n++ {
		if err := s.move(ctx, n); err != nil {
			diagnosis, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return fmt.Errorf("move %d: %w\n%s", n, err, s.lab.Diagnose(diagnosis, s.flow.Counter))
		}
		if n%every == 0 || n == s.moves {
			if err := s.leaks.measure(ctx, s, n); err != nil {
				return fmt.Errorf("measure after move %d: %w", n, err)
			}
		}
	}
	outcome, err := s.flow.Finish(ctx, s.pod)
	if err != nil {
		return err
	}
	if !s.report(outcome) {
		return errVerdict
	}
	return nil
}

// move moves the counter once, with a fault if one is drawn, and makes sure that
// it lives on: in the target with the same memory, or in the source as if nothing
// had been.
func (s *soak) move(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("not done in %v", s.timeout))
	defer cancel()
	f := s.draw(n)
	m := s.migration(n)
	begun := time.Now()
	if err := s.lab.Client.Create(ctx, m); err != nil {
		return err
	}
	ended, err := s.follow(ctx, m, f)
	if err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	took := time.Since(begun)
	end, err := s.where(ctx, ended, f)
	if err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	if !f.allows(end) {
		return fmt.Errorf("%s: %s", f, harness.Summary(ended))
	}
	if err := s.lives(ctx); err != nil {
		return fmt.Errorf("%s, %s: %w", f, end, err)
	}
	if err := s.lab.DeleteMigration(ctx, m); err != nil {
		return fmt.Errorf("%s, %s: delete the migration: %w", f, end, err)
	}
	s.count(f.kind, end, took, ended)
	fmt.Printf("%7.1f s  move %4d  → %s  %-9s in %4.1f s  %s%s\n", time.Since(s.begin).Seconds(), n,
		s.pod.Spec.NodeName, end, took.Seconds(), f, why(ended, end))
	return nil
}

// where finds the pod that the counter lives in, and tells by it how the migration
// has ended: one that was cancelled is gone, in whichever way.
func (s *soak) where(ctx context.Context, m *v1alpha1.StatefulMigration, f fault) (v1alpha1.MigrationPhase, error) {
	if f.kind != cancelled {
		var err error
		if m.Status.Phase == v1alpha1.PhaseCompleted {
			s.pod, err = s.lab.TargetPod(ctx, m)
		}
		return m.Status.Phase, err
	}
	pods, err := s.flow.Pods(ctx)
	if err != nil {
		return "", err
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if len(pods) != 1 {
		return "", fmt.Errorf("%d pods are left of the migration (%s)", len(pods), harness.Summary(m))
	}
	end := v1alpha1.PhaseFailed
	if pods[0].UID != s.pod.UID {
		end = v1alpha1.PhaseCompleted
	}
	s.pod = &pods[0]
	return end, nil
}

// why is what a migration that failed says.
func why(m *v1alpha1.StatefulMigration, end v1alpha1.MigrationPhase) string {
	if end == v1alpha1.PhaseCompleted {
		return ""
	}
	return ": " + harness.Summary(m)
}

// migration is the n-th, to the other one of the two nodes.
func (s *soak) migration(n int) *v1alpha1.StatefulMigration {
	target := harness.NodeA
	if s.pod.Spec.NodeName == target {
		target = harness.NodeB
	}
	m := s.flow.Migration(target)
	m.ObjectMeta = metav1.ObjectMeta{Namespace: m.Namespace, Name: fmt.Sprintf("move-%d", n)}
	m.Spec.SourcePod.Name = s.pod.Name
	return m
}

// follow waits until the migration has ended, or is gone if it was cancelled, and
// lets the fault happen when its phase has come. It returns the last version seen.
func (s *soak) follow(ctx context.Context, m *v1alpha1.StatefulMigration, f fault) (*v1alpha1.StatefulMigration, error) {
	last, done := m, f.kind == none
	err := harness.Until(ctx, s.lab, m, &v1alpha1.StatefulMigrationList{}, func(now *v1alpha1.StatefulMigration) (bool, error) {
		if now == nil {
			if f.kind != cancelled {
				return false, fmt.Errorf("the migration %s is gone", m.Name)
			}
			return true, nil
		}
		last = now
		if !done && f.due(now) {
			done = true
			if err := f.happen(ctx, s, now); err != nil {
				return false, fmt.Errorf("let it happen: %w", err)
			}
		}
		return harness.Ended(now) && (f.kind != cancelled || now.DeletionTimestamp == nil), nil
	})
	if err != nil {
		err = fmt.Errorf("%w (%s)", err, harness.Summary(last))
	}
	return last, err
}

// lives asserts that the counter counts, in the memory in which it began.
func (s *soak) lives(ctx context.Context) error {
	if err := s.flow.Counted(ctx, s.flow.Collector.Count()+progress); err != nil {
		return err
	}
	state, err := s.lab.State(ctx, s.pod)
	switch {
	case err != nil:
		return err
	case state.Mark != s.flow.Begin.Mark:
		return fmt.Errorf("the memory is another: mark %s, was %s", state.Mark, s.flow.Begin.Mark)
	case state.Consumer != "Live" || !state.Owner:
		return fmt.Errorf("the counter is %s, owner: %t", state.Consumer, state.Owner)
	}
	return nil
}
