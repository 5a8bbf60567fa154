package controller_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/mock/gomock"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/sdk/handover"
)

// prepared answers PREPARE and RESUME as a source does.
func (r *rig) prepared(c handover.Command) {
	r.says(sourceUID, handover.Status{State: handover.Paused, Attempt: c.Attempt, Number: 7})
}

func (r *rig) relaying(c handover.Command) {
	r.says(sourceUID, handover.Status{State: handover.Relaying, Attempt: c.Attempt, Number: 7, PauseMillis: 5})
}

// TestCheckpointToTransfer takes one transition without an agent that watches:
// RESUME follows the kubelet's answer, then the leg is made.
func TestCheckpointToTransfer(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseCheckpointing, buffered), interceptor.Funcs{}).connected()
	r.says(sourceUID, handover.Status{State: handover.Live})
	r.expectSend(handover.Hello, nil).AnyTimes()
	gomock.InOrder(
		r.expectSend(handover.Prepare, r.prepared),
		r.kubelet.EXPECT().Checkpoint(gomock.Any(), "node-a", "ns", "counter", "main").Return("a.tar", nil),
		r.expectSend(handover.Resume, r.relaying),
	)
	r.reconcile()
	r.attends(v1alpha1.TransferComplete, metav1.ConditionTrue)
	r.reconcile()
	r.woken()

	m := r.get()
	if m.Status.Phase != v1alpha1.PhaseTransferring || m.Status.CheckpointID != "a.tar" || m.Status.Attempt != 1 || m.Status.Epoch != 1 {
		t.Errorf("status %+v", m.Status)
	}
	var legs v1alpha1.CheckpointTransferList
	if err := r.Client.List(t.Context(), &legs); err != nil || len(legs.Items) != 2 {
		t.Fatalf("legs %v, %v", legs.Items, err)
	}
	for _, leg := range legs.Items {
		if owner := metav1.GetControllerOf(&leg); owner == nil || owner.UID != uid {
			t.Errorf("owner %v", owner)
		}
		if len(leg.Finalizers) != 1 || leg.Labels[v1alpha1.LabelMigration] != uid || leg.Spec.Direction == v1alpha1.TransferPush && leg.Spec.Archive != "a.tar" {
			t.Errorf("leg %+v", leg)
		}
	}
}

// TestResumeBeforeTheAnswer: the source goes on when the agent says that CRIU has
// ended, while the kubelet is still at work, and its image counts.
func TestResumeBeforeTheAnswer(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseCheckpointing, buffered), interceptor.Funcs{}).connected()
	r.says(sourceUID, handover.Status{State: handover.Live})
	r.expectSend(handover.Hello, nil).AnyTimes()
	called, archived := make(chan struct{}), make(chan struct{})
	r.kubelet.EXPECT().Checkpoint(gomock.Any(), "node-a", "ns", "counter", "main").DoAndReturn(
		func(ctx context.Context, _, _, _, _ string) (string, error) {
			close(called)
			select {
			case <-archived:
				return "a.tar", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		})
	gomock.InOrder(
		r.expectSend(handover.Prepare, r.prepared),
		r.expectSend(handover.Resume, r.relaying),
	)
	r.reconcile()
	r.attends(v1alpha1.TransferReady, metav1.ConditionTrue)
	r.reconcile()
	<-called
	r.reconcile() // whatever wakes it, the source stays paused
	if got, _ := r.broker.Heard(sourceUID); got.Last.Status.State != handover.Paused {
		t.Fatalf("the source is %s before it is frozen", got.Last.Status.State)
	}
	r.attends(v1alpha1.TransferFrozen, metav1.ConditionTrue)
	r.reconcile()
	if got, _ := r.broker.Heard(sourceUID); got.Last.Status.State != handover.Relaying {
		t.Fatalf("the source is %s though it is frozen", got.Last.Status.State)
	}
	if phase := r.get().Status.Phase; phase != v1alpha1.PhaseCheckpointing {
		t.Errorf("phase %s before the kubelet has answered", phase)
	}
	close(archived)
	r.woken()
	if st := r.get().Status; st.Phase != v1alpha1.PhaseCheckpointing || st.CheckpointID != "" {
		t.Errorf("status %+v before the agent's verdict", st)
	}
	r.attends(v1alpha1.TransferComplete, metav1.ConditionTrue)
	r.reconcile()
	if st := r.get().Status; st.Phase != v1alpha1.PhaseTransferring || st.CheckpointID != "a.tar" || st.Attempt != 1 {
		t.Errorf("status %+v", st)
	}
}

// TestCheckpointFails: a failing call is retried, then the migration fails with
// its reason. The source goes on after each.
func TestCheckpointFails(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseCheckpointing, buffered), interceptor.Funcs{}).connected()
	r.says(sourceUID, handover.Status{State: handover.Live})
	r.expectSend(handover.Hello, nil).AnyTimes()
	failure := &kubelet.Error{Code: 500, Message: "criu: cannot dump", Temporary: true}
	gomock.InOrder(
		r.expectSend(handover.Prepare, r.prepared),
		r.kubelet.EXPECT().Checkpoint(gomock.Any(), "node-a", "ns", "counter", "main").Return("", failure),
		r.expectSend(handover.Resume, r.relaying),
		r.expectSend(handover.Prepare, r.prepared),
		r.kubelet.EXPECT().Checkpoint(gomock.Any(), "node-a", "ns", "counter", "main").Return("", failure),
		r.expectSend(handover.Resume, r.relaying),
		r.broker.EXPECT().WriteAbort(gomock.Any(), uid).Return(handover.Aborted, nil),
		r.expectSend(handover.Abort, func(c handover.Command) {
			r.says(sourceUID, handover.Status{State: handover.Live, Attempt: c.Attempt, Decision: handover.Aborted})
		}),
	)
	r.reconcile()
	r.attends(v1alpha1.TransferReady, metav1.ConditionTrue)
	r.reconcile()
	if again := r.woken(); again.RequeueAfter < time.Second || again.RequeueAfter > 2*time.Second {
		t.Errorf("the next attempt is in %v", again.RequeueAfter)
	}
	r.later(2 * time.Second)
	r.reconcile()
	r.attends(v1alpha1.TransferReady, metav1.ConditionTrue)
	r.reconcile()
	r.woken()
	c := meta.FindStatusCondition(r.get().Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason != "CheckpointFailed" || !strings.Contains(c.Message, "criu: cannot dump") {
		t.Errorf("condition %+v", c)
	}
}

// replaying is a migration whose copy is behind.
func replaying(m *v1alpha1.StatefulMigration) {
	for _, c := range []string{v1alpha1.ConditionBuffered, v1alpha1.ConditionCheckpointed, v1alpha1.ConditionTransferred, v1alpha1.ConditionRestored} {
		condition(m, c)
	}
	m.Status.Attempt, m.Status.AttemptEpoch = 1, 1
	m.Status.TargetPodName, m.Status.TargetPodUID, m.Status.TargetNode = "target", targetUID, "node-b"
	m.Status.CheckpointImage = &v1alpha1.CheckpointImage{Reference: "registry/checkpoints@sha256:00", Digest: "sha256:00"}
}

func target() *corev1.Pod {
	p := pod("target", targetUID, "node-b")
	p.Labels = map[string]string{v1alpha1.LabelMigration: uid}
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: v1alpha1.ConditionLive}}
	return p
}

// TestLagFreezes: a lag above replayCutoffSeconds that does not shrink freezes
// the source.
func TestLagFreezes(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseReplaying, replaying), interceptor.Funcs{}, target()).connected()
	r.expectSend(handover.Hello, nil).Times(2)
	lag := func(n uint64) {
		r.says(sourceUID, handover.Status{State: handover.Relaying, Attempt: 1, Confirmed: 1000 + 3*n})
		r.says(targetUID, handover.Status{State: handover.Replaying, Attempt: 1, Number: 800 + n, Rate: 10})
	}
	for second := range uint64(5) {
		lag(10 * second)
		r.reconcile()
		r.later(time.Second)
	}
	if m := r.get(); m.Status.Phase != v1alpha1.PhaseReplaying || m.Status.Lag == nil || m.Status.Lag.Messages < 200 {
		t.Fatalf("phase %s, lag %+v", m.Status.Phase, m.Status.Lag)
	}
	lag(50)
	r.expectSend(handover.Freeze, func(handover.Command) {
		if p := r.get().Status.Phase; p != v1alpha1.PhaseFinalizing {
			t.Errorf("FREEZE is sent in %s: the phase was not recorded first", p)
		}
	})
	r.reconcile()
	m := r.get()
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCutOff); c == nil || c.Status != metav1.ConditionTrue || c.Reason != "Outpaced" {
		t.Errorf("condition %+v", c)
	}
	want := v1alpha1.Cutoff{Reason: "Outpaced", LimitSeconds: 10, LagMessages: 300, ExpectedGapSeconds: "30.000", ArrivalRate: "30.000", ReplayRate: "10.000"}
	if m.Status.Cutoff == nil || *m.Status.Cutoff != want {
		t.Errorf("%+v, want %+v", m.Status.Cutoff, want)
	}
}

// TestRecordedFirst: nothing stands at the broker whose intent is not recorded.
func TestRecordedFirst(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseCheckpointing), interceptor.Funcs{}).connected()
	recorded := func() {
		c := meta.FindStatusCondition(r.get().Status.Conditions, v1alpha1.ConditionBuffered)
		if c == nil || c.Status != metav1.ConditionUnknown {
			t.Errorf("condition %+v", c)
		}
	}
	r.broker.EXPECT().Look(gomock.Any(), "orders").Return(&broker.Queue{Consumers: 1}, nil)
	var mu sync.Mutex
	var keys []string
	r.broker.EXPECT().SetHold(gomock.Any(), gomock.Any(), gomock.Any()).Times(4).DoAndReturn(
		func(_ context.Context, key string, h handover.Hold) error {
			mu.Lock()
			defer mu.Unlock()
			recorded()
			keys = append(keys, key)
			if h.Migration != uid || h.SourcePod != sourceUID || h.DeadlineMillis == 0 {
				t.Errorf("hold %+v", h)
			}
			return nil
		})
	r.broker.EXPECT().CreateReplayQueue(gomock.Any(), handover.ReplayQueue(uid)).DoAndReturn(
		func(context.Context, string) error { recorded(); return nil })
	r.expectSend(handover.Hello, nil)
	r.reconcile()
	want := []string{uid, sourceUID, handover.PodSlot("ns", "counter"), handover.QueueSlot("orders")}
	slices.Sort(keys) // they are set at once
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		t.Errorf("holds %v, want %v", keys, want)
	}
}

// TestConflict: somebody else has written the object meanwhile. Nothing is done
// on the old view, and it is no failure.
func TestConflict(t *testing.T) {
	writes := 0
	r := newRig(t, object(v1alpha1.PhaseCheckpointing), interceptor.Funcs{
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			if writes++; writes == 1 { // the claim
				return c.SubResource(sub).Update(ctx, o, opts...)
			}
			return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), errors.New("changed"))
		},
	}).connected()
	if again := r.reconcile(); again.RequeueAfter == 0 {
		t.Error("not tried again")
	}
	// No call of a mock was expected: any would have failed the test.
}

// TestBackOff: an action that fails is tried again, later each time, with one
// event and a condition that says so, however often the migration is woken.
func TestBackOff(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseCheckpointing), interceptor.Funcs{}).connected()
	r.says(sourceUID, handover.Status{State: handover.Live})
	r.expectSend(handover.Hello, nil).AnyTimes()
	calls := 0
	r.broker.EXPECT().Look(gomock.Any(), "orders").AnyTimes().DoAndReturn(func(context.Context, string) (*broker.Queue, error) {
		calls++
		return nil, broker.ErrUnavailable
	})
	var waits []time.Duration
	for range 4 {
		wait := r.reconcile().RequeueAfter
		waits = append(waits, wait)
		for range 3 { // woken too early
			r.reconcile()
		}
		r.later(wait)
	}
	if calls != 4 {
		t.Errorf("%d calls, want 4", calls)
	}
	for i := 1; i < len(waits); i++ {
		if waits[i] <= waits[i-1] {
			t.Errorf("waits %v", waits)
		}
	}
	c := meta.FindStatusCondition(r.get().Status.Conditions, v1alpha1.ConditionBuffered)
	if c.Status != metav1.ConditionUnknown || c.Reason != "BrokerUnavailable" {
		t.Errorf("condition %+v", c)
	}
	if n := len(r.events.Events); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestSecret: the URL comes from the Secret, and goes nowhere but to the broker.
func TestSecret(t *testing.T) {
	byRef := func(m *v1alpha1.StatefulMigration) {
		m.Spec.MessageQueueConfig.BrokerURL = ""
		m.Spec.MessageQueueConfig.BrokerURLSecretRef = &v1alpha1.SecretKeyReference{Name: "rabbit", Key: "url"}
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "rabbit", Namespace: "ns"},
		Data:       map[string][]byte{"url": []byte("amqp://user:secret@broker")},
	}
	r := newRig(t, object(v1alpha1.PhasePending, byRef), interceptor.Funcs{}, installation()...)
	ready := func(reason string) {
		t.Helper()
		r.reconcile()
		c := meta.FindStatusCondition(r.get().Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != reason || strings.Contains(c.Message, "secret@") {
			t.Errorf("condition %+v, want %s", c, reason)
		}
	}
	ready("SecretUnavailable")
	if err := r.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	r.later(15 * time.Second) // the Secret is read again, though not with every wake
	r.brokers.EXPECT().Acquire("amqp://user:secret@broker").Return(r.broker)
	r.broker.EXPECT().Look(gomock.Any(), gomock.Any()).Return(nil, broker.ErrUnavailable).AnyTimes()
	ready("BrokerUnavailable")
}

// TestDeletesByUID: when the target serves, the source is deleted by its UID, so
// that a pod that has taken its name since is not.
func TestDeletesByUID(t *testing.T) {
	deleted := false
	r := newRig(t, object(v1alpha1.PhaseFinalizing, replaying, func(m *v1alpha1.StatefulMigration) {
		condition(m, v1alpha1.ConditionCommitted)
		pause := int64(3)
		m.Status.Pauses = &v1alpha1.Pauses{HandoverMillis: &pause}
	}), interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if o.GetName() == "counter" {
				deleted = true
				options := (&client.DeleteOptions{}).ApplyOptions(opts)
				if p := options.Preconditions; p == nil || p.UID == nil || *p.UID != sourceUID {
					t.Errorf("preconditions %+v", p)
				}
			}
			return c.Delete(ctx, o, opts...)
		},
	}, target()).connected()
	r.says(sourceUID, handover.Status{State: handover.Retired, Attempt: 1, Decision: handover.Commit})
	r.says(targetUID, handover.Status{State: handover.Live, Attempt: 1, Decision: handover.Commit})
	r.expectSend(handover.Hello, nil).AnyTimes()
	r.broker.EXPECT().DeleteQueue(gomock.Any(), handover.ReplayQueue(uid))
	r.registry.EXPECT().Delete(gomock.Any(), "registry/checkpoints@sha256:00")
	r.broker.EXPECT().RemoveHold(gomock.Any(), gomock.Any(), uid).Times(4)
	r.broker.EXPECT().RemoveDecision(gomock.Any(), uid)
	r.broker.EXPECT().Forget(sourceUID)
	r.broker.EXPECT().Forget(targetUID)
	r.brokers.EXPECT().Release(r.broker)
	r.reconcile()
	m := r.get()
	if !deleted || m.Status.Phase != v1alpha1.PhaseCompleted || len(m.Finalizers) != 0 {
		t.Errorf("deleted %v, phase %s, finalizers %v", deleted, m.Status.Phase, m.Finalizers)
	}
	pod := &corev1.Pod{}
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(target()), pod); err != nil {
		t.Fatal(err)
	}
	if pod.Labels[v1alpha1.LabelMigration] != "" || !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == v1alpha1.ConditionLive && c.Status == corev1.ConditionTrue
	}) {
		t.Errorf("the target keeps the label, or its gate is closed: %v, %v", pod.Labels, pod.Status.Conditions)
	}
}

// TestTerminatingNamespace: a migration whose namespace is being deleted does not wait
// for a leg that nobody can make there any more.
func TestTerminatingNamespace(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseCheckpointing, buffered, func(m *v1alpha1.StatefulMigration) {
		m.Status.Attempt = 2
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: "Cancelled"})
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionCommitted, Status: metav1.ConditionFalse, Reason: "Aborted"})
	}), interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			err := apierrors.NewForbidden(schema.GroupResource{Resource: "checkpointtransfers"}, "sweep", errors.New("it is being terminated"))
			err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
			return err
		},
	}).connected()
	r.says(sourceUID, handover.Status{State: handover.Live, Attempt: 2, Decision: handover.Aborted})
	r.expectSend(handover.Hello, nil).AnyTimes()
	r.broker.EXPECT().DeleteQueue(gomock.Any(), handover.ReplayQueue(uid))
	r.broker.EXPECT().RemoveHold(gomock.Any(), gomock.Any(), uid).Times(4)
	r.broker.EXPECT().RemoveDecision(gomock.Any(), uid)
	r.broker.EXPECT().Forget(gomock.Any()).AnyTimes()
	r.brokers.EXPECT().Release(r.broker)
	r.reconcile()
	m := r.get()
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCleanedUp); m.Status.Phase != v1alpha1.PhaseFailed || len(m.Finalizers) != 0 || c == nil || c.Status != metav1.ConditionFalse {
		t.Errorf("phase %s, finalizers %v, cleaned up %+v", m.Status.Phase, m.Finalizers, c)
	}
}
