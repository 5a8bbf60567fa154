package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// callTimeout bounds a call to the outside that is short by nature.
const callTimeout = 10 * time.Second

// act does one action.
func (s *scope) act(ctx context.Context, action migration.Action) error {
	log.FromContext(ctx).V(1).Info("act", "action", migration.Name(action))
	switch a := action.(type) {
	case migration.Checkpoint:
		s.checkpoint(ctx, a)
		return nil
	case migration.CreateTransfer:
		return s.createTransfer(ctx, a)
	case migration.Withdraw:
		return s.withdraw(ctx, a)
	case migration.CreateTarget:
		return s.createTarget(ctx, a)
	case migration.OpenGate:
		return s.openGate(ctx, a)
	case migration.Expend:
		return s.expend(ctx, a)
	case migration.Adopt:
		return s.adopt(ctx, a)
	case migration.SettleTarget:
		return s.settleTarget(ctx, a)
	case migration.DeletePod:
		return s.deletePod(ctx, a)
	case migration.DeleteTransfers:
		return s.deleteTransfers(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	switch a := action.(type) {
	case migration.VerifyImage:
		return s.verifyImage(ctx, a)
	case migration.DeleteImage:
		return s.did(migration.StepImageDeleted(a.Reference), registryError(s.Registry.Delete(ctx, a.Reference)))
	}
	if err := s.unreachable(); err != nil {
		return err
	}
	return brokerError(s.actAtBroker(ctx, action))
}

// actAtBroker does the actions that are done at the broker.
func (s *scope) actAtBroker(ctx context.Context, action migration.Action) error {
	b, id := s.session.broker, migration.HandoverID(s.object)
	switch a := action.(type) {
	case migration.Send:
		return s.send(ctx, a)
	case migration.SetHolds:
		return s.did(migration.StepHolds, s.setHolds(ctx, a))
	case migration.CreateReplayQueue:
		return s.did(migration.StepReplayQueue, b.CreateReplayQueue(ctx, a.Queue))
	case migration.DeleteReplayQueues:
		var errs []error
		for _, queue := range a.Queues {
			errs = append(errs, s.did(migration.StepReplayQueueGone(queue), b.DeleteQueue(ctx, queue)))
		}
		return errors.Join(errs...)
	case migration.ReadDecision:
		return s.learn(b.ReadDecision(ctx, id))
	case migration.WriteAbort:
		return s.learn(b.WriteAbort(ctx, id))
	case migration.RemoveMarks:
		for _, m := range a.Marks {
			if err := s.did(m.Step(), s.removeMarks(ctx, m)); err != nil {
				return err
			}
		}
		return nil
	}
	return migration.Fatal(migration.ReasonInvalidSpec, fmt.Errorf("no such action: %T", action))
}

// did remembers a step that was done.
func (s *scope) did(step migration.Step, err error) error {
	if err == nil {
		s.session.done[step] = true
	}
	return err
}

// learn remembers what stands at the broker.
func (s *scope) learn(d handover.Decision, err error) error {
	if err != nil {
		return err
	}
	s.session.decision = map[handover.Decision]migration.Verdict{
		handover.Undecided: migration.Undecided,
		handover.Commit:    migration.Committed,
		handover.Aborted:   migration.Aborted,
	}[d]
	return nil
}

// send sends a command. That nobody is there to take it is a fact, not a failure.
func (s *scope) send(ctx context.Context, a migration.Send) error {
	now := s.Clock.Now()
	attempt := int32(a.Command.Attempt)
	correlation := fmt.Sprintf("%s/%d/%d/%d", a.Command.Kind, a.Command.Attempt, a.Command.Epoch, now.UnixNano())
	err := s.session.broker.Send(ctx, a.Command, correlation)
	nobody := errors.Is(err, broker.ErrNoInstance)
	if err != nil && !nobody {
		return err
	}
	byKind := s.session.sent[a.Role]
	if byKind == nil {
		byKind = map[handover.CommandKind]sent{}
		s.session.sent[a.Role] = byKind
	}
	if c := s.session.calling; c != nil && a.Command.Kind == handover.Resume && !nobody {
		c.resumed = true
	}
	first := now
	if before, ok := byKind[a.Command.Kind]; ok && before.Attempt == attempt {
		first = before.First
	}
	byKind[a.Command.Kind] = sent{
		Sent:        migration.Sent{First: first, At: now, Attempt: attempt, PaceMillis: a.Command.PaceMillis, NoInstance: nobody},
		correlation: correlation,
	}
	return nil
}

func (s *scope) setHolds(ctx context.Context, a migration.SetHolds) error {
	consumers := map[string]int{}
	for _, queue := range a.Queues {
		q, err := s.session.broker.Look(ctx, queue)
		if err != nil {
			return err
		}
		if q != nil {
			consumers[queue] = q.Consumers
		}
	}
	if err := eachKey(a.Keys, func(key string) error { return s.session.broker.SetHold(ctx, key, a.Hold) }); err != nil {
		return err
	}
	for _, queue := range a.Queues {
		n := consumers[queue]
		if n == 0 || n > 1 && !a.Always {
			continue
		}
		err := s.session.broker.SetHold(ctx, handover.QueueSlot(queue), a.Hold)
		if n > 1 && errors.Is(err, broker.ErrHeldByOther) {
			continue // another replica is being moved: its hold keeps newcomers away
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachKey does something with the holds under all keys at once: each is a dozen
// round trips, and they are in no order.
func eachKey(keys []string, do func(string) error) error {
	errs := make([]error, len(keys))
	var all sync.WaitGroup
	for i, key := range keys {
		all.Go(func() { errs[i] = do(key) })
	}
	all.Wait()
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i] // one is enough: mostly all say the same
}

// removeMarks removes the holds before the decision: a process that still
// found a hold without a decision would take it for a migration under way.
func (s *scope) removeMarks(ctx context.Context, m migration.Marks) error {
	err := eachKey(m.Keys, func(key string) error { return s.session.broker.RemoveHold(ctx, key, m.Handover) })
	if err != nil || m.KeepDecision {
		return err
	}
	return s.session.broker.RemoveDecision(ctx, m.Handover)
}

func (s *scope) createTransfer(ctx context.Context, a migration.CreateTransfer) error {
	t := &v1alpha1.CheckpointTransfer{
		ObjectMeta: metav1.ObjectMeta{
			Name: a.Name, Namespace: s.object.Namespace,
			Labels: map[string]string{
				v1alpha1.LabelMigration: string(s.object.UID), v1alpha1.LabelHandover: migration.HandoverID(s.object),
			},
			// From the first moment: an agent that has begun must not lose the
			// object before it has tidied up.
			Finalizers: []string{v1alpha1.FinalizerTransfer},
		},
		Spec: a.Spec,
	}
	if err := controllerutil.SetControllerReference(s.object, t, s.Client.Scheme()); err != nil {
		return migration.Fatal(migration.ReasonTransferFailed, err)
	}
	s.session.legless = false
	err := s.create(ctx, t)
	if a.Spec.Direction == v1alpha1.TransferSweep && apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		// Its namespace is being deleted, and would have to wait for us.
		return s.did(migration.StepUnswept, nil)
	}
	return apiError(migration.ReasonTransferFailed, err)
}

func (s *scope) withdraw(ctx context.Context, a migration.Withdraw) error {
	if err := s.createTransfer(ctx, a.Leg); err != nil {
		return err
	}
	// Live: the cache may not show yet what was just made.
	t := &v1alpha1.CheckpointTransfer{}
	err := s.Live.Get(ctx, client.ObjectKey{Namespace: s.object.Namespace, Name: a.Leg.Name}, t)
	if err == nil {
		err = s.Client.Delete(ctx, t, client.Preconditions{UID: &t.UID})
	}
	if client.IgnoreNotFound(err) != nil {
		return apiError(migration.ReasonUnavailable, err)
	}
	return s.did(migration.StepWithdrawn(a.Pod), nil)
}

func (s *scope) createTarget(ctx context.Context, a migration.CreateTarget) error {
	if err := s.create(ctx, a.Pod); err != nil {
		return apiError(migration.ReasonTargetRejected, err)
	}
	for _, note := range a.Notes {
		s.told(migration.Told{Reason: "NodePinDropped", Action: "CreateTarget", Note: "the target pod goes without the source's " + note})
	}
	return nil
}

// create creates an object whose name is this migration's alone: one that
// exists is the one that was made before a restart.
func (s *scope) create(ctx context.Context, o client.Object) error {
	err := s.Client.Create(ctx, o)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (s *scope) deletePod(ctx context.Context, a migration.DeletePod) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: a.Name, Namespace: s.object.Namespace}}
	opts := []client.DeleteOption{client.Preconditions{UID: &a.UID}}
	if a.Grace != nil {
		opts = append(opts, client.GracePeriodSeconds(*a.Grace))
	}
	return apiError(migration.ReasonUnavailable, client.IgnoreNotFound(s.Client.Delete(ctx, pod, opts...)))
}

func (s *scope) deleteTransfers(ctx context.Context) error {
	var list v1alpha1.CheckpointTransferList
	if err := s.Live.List(ctx, &list, client.InNamespace(s.object.Namespace), ofMigration(s.object.UID)); err != nil {
		return apiError(migration.ReasonUnavailable, err)
	}
	for i := range list.Items {
		t := &list.Items[i]
		err := s.Client.Delete(ctx, t, client.Preconditions{UID: &t.UID})
		if client.IgnoreNotFound(err) != nil {
			return apiError(migration.ReasonUnavailable, err)
		}
	}
	return s.did(migration.StepTransfersDeleted, nil)
}

func (s *scope) verifyImage(ctx context.Context, a migration.VerifyImage) error {
	found, err := s.Registry.Exists(ctx, a.Reference)
	if err != nil {
		return registryError(err)
	}
	if !found {
		return migration.Fatal(migration.ReasonTransferFailed, fmt.Errorf("the repository does not have %s", a.Reference))
	}
	return s.did(migration.StepImageVerified(a.Reference), nil)
}

// apiError judges an error of the API server.
func apiError(reason string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err):
		return migration.Fatal(reason, err)
	}
	return migration.Passing(reason, err)
}

// brokerError judges an error of the broker.
func brokerError(err error) error {
	var known *migration.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, broker.ErrHeldByOther):
		return migration.Passing(migration.ReasonOtherMigration, err)
	case errors.Is(err, broker.ErrMismatch):
		return migration.Fatal(migration.ReasonInvalidSpec, err)
	}
	return migration.Passing(migration.ReasonBrokerUnavailable, err)
}

// registryError judges an error of the repository.
func registryError(err error) error {
	if err == nil {
		return nil
	}
	f := fault.Of(err)
	return &migration.Error{Reason: migration.ReasonTransferFailed, Retry: f.Passing, Err: err}
}
