package controller

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// observe gathers the facts.
func (s *scope) observe(ctx context.Context) (migration.Facts, error) {
	f := migration.Facts{Policy: s.Policy, Object: s.object}
	var err error
	s.session.enter(s.object.Status.Hop)
	if f.Source.Pod, err = s.pod(ctx, migration.SourceName(s.object, &s.object.Status)); err != nil {
		return f, err
	}
	// The target's name is recorded before it is made: without one there is none.
	if name := s.object.Status.TargetPodName; name != "" {
		if f.Target.Pod, err = s.pod(ctx, name); err != nil {
			return f, err
		}
	}
	if err := s.transfers(ctx, &f); err != nil {
		return f, err
	}
	if err := s.workload(ctx, &f); err != nil {
		return f, err
	}
	s.connect(ctx)
	s.answered(ctx)
	// The time is taken before the reports are: one that comes in meanwhile
	// must not look as if it were from the future.
	f.Now = s.Clock.Now()
	s.listen(&f.Source, migration.RoleSource, s.object.Status.SourcePodUID)
	s.listen(&f.Target, migration.RoleTarget, s.object.Status.TargetPodUID)
	if sample, ok := migration.Measure(f.Now, f.Source.Report, f.Target.Report); ok {
		s.session.samples = migration.Remember(s.session.samples, sample, s.Policy.Trend)
	} else {
		s.session.samples = nil // another target's replay has another trend
	}
	if pending(s.object.Status.Phase) {
		if f.MigrationPolicy, err = s.policy(ctx, f.Source.Pod); err != nil {
			return f, err
		}
	}
	if s.object.Status.Queued != nil {
		if f.Turn, err = s.turn(ctx, s.object, false); err != nil {
			return f, err
		}
	}
	if pending(s.object.Status.Phase) && f.Turn == nil {
		if f.Preflight, err = s.preflight(ctx, &f); err != nil {
			return f, err
		}
	}
	f.Decision, f.Samples = s.session.decision, s.session.samples
	f.Calling, f.Checkpoint = s.session.calling != nil, s.session.checkpoint
	f.Failure, f.LastWrite, f.Done = s.session.failure, s.session.lastWrite, s.session.done
	f.Blocked = migration.Blocked{Action: s.session.retry.action, Until: s.session.retry.at}
	return f, nil
}

// pod reads a pod; nil: there is none. That there is none is never believed
// of the cache, which may not have seen yet what was just made.
func (s *scope) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	key := client.ObjectKey{Namespace: s.object.Namespace, Name: name}
	pod := &corev1.Pod{}
	err := s.Client.Get(ctx, key, pod)
	if apierrors.IsNotFound(err) {
		err = s.Live.Get(ctx, key, pod)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return pod, nil
}

// transfers finds the legs of the migration.
func (s *scope) transfers(ctx context.Context, f *migration.Facts) error {
	var list v1alpha1.CheckpointTransferList
	of := []client.ListOption{client.InNamespace(s.object.Namespace), ofMigration(s.object.UID)}
	if err := s.Client.List(ctx, &list, of...); err != nil {
		return err
	}
	// That all are gone is not believed of the cache, either; that one is there still, is:
	// the cache wakes us when it has gone.
	if s.session.done[migration.StepTransfersDeleted] && len(list.Items) == 0 && !s.session.legless {
		if err := s.Live.List(ctx, &list, of...); err != nil {
			return err
		}
		s.session.legless = len(list.Items) == 0
	}
	f.Transfers = len(list.Items)
	for i := range list.Items {
		t := &list.Items[i]
		if t.Spec.Attempt != s.object.Status.Attempt || t.Labels[v1alpha1.LabelHandover] != migration.HandoverID(s.object) {
			continue
		}
		switch t.Spec.Direction {
		case v1alpha1.TransferThaw:
			f.Thaw = t
		case v1alpha1.TransferPush:
			f.Push = t
		case v1alpha1.TransferStage:
			if t.Spec.PodUID == s.object.Status.TargetPodUID {
				f.Stage = t
			}
		case v1alpha1.TransferFetch:
			f.Fetch = t
		case v1alpha1.TransferSweep:
			f.Sweep = t
		}
	}
	return nil
}

func ofMigration(uid types.UID) client.MatchingLabels {
	return client.MatchingLabels{v1alpha1.LabelMigration: string(uid)}
}

// listen adds to an instance what was said to it, and what it said.
func (s *scope) listen(inst *migration.Instance, role migration.Role, pod types.UID) {
	s.Sessions.follow(pod, s.key)
	inst.Sent = map[handover.CommandKind]migration.Sent{}
	for kind, c := range s.session.sent[role] {
		inst.Sent[kind] = c.Sent
	}
	if s.session.broker == nil || pod == "" {
		return
	}
	heard, ok := s.session.broker.Heard(string(pod))
	if !ok {
		return
	}
	inst.Report, inst.Heard = &heard.Last, later(heard.At, s.session.connected)
	for kind, c := range s.session.sent[role] {
		if a, ok := heard.Answers[kind]; ok && c.answeredBy(a) {
			with := c.Sent
			with.Answer = &a.Report
			inst.Sent[kind] = with
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// resolveEvery bounds how often a Secret is read again for a broker that does
// not let the manager in: its password may have been changed.
const resolveEvery = 10 * time.Second

// connect gets hold of the migration's broker.
func (s *scope) connect(ctx context.Context) {
	ss := s.session
	if now := s.Clock.Now(); (ss.broker == nil || ss.suspect || ss.broker.Generation() == 0) && !now.Before(ss.resolveAt) {
		ss.resolveAt, ss.suspect = now.Add(resolveEvery), false
		url, err := s.brokerURL(ctx)
		ss.brokerErr = err
		if err == nil && (ss.broker == nil || url != ss.url) {
			s.close(ss)
			ss.broker, ss.url = s.Brokers.Acquire(url), url
		}
	}
	if ss.broker == nil {
		return
	}
	if g := ss.broker.Generation(); g != ss.generation {
		ss.generation = g
		ss.reconnected(s.Clock.Now())
	}
}
