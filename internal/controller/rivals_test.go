package controller_test

import (
	"testing"
	"time"

	"go.uber.org/mock/gomock"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestStandBack: a manager whose migration another one has claimed does nothing more
// about it, as long as something of the other is seen; then it claims it anew.
func TestStandBack(t *testing.T) {
	r := newRig(t, object(v1alpha1.PhaseReplaying, replaying), interceptor.Funcs{}, target()).connected()
	hellos := 0
	r.expectSend(handover.Hello, func(handover.Command) { hellos++ }).AnyTimes()
	r.brokers.EXPECT().Release(r.broker).AnyTimes()
	r.broker.EXPECT().Forget(gomock.Any()).AnyTimes()
	r.reconcile()
	if m := r.get(); m.Status.Epoch != 1 || hellos == 0 {
		t.Fatalf("epoch %d, %d HELLOs", m.Status.Epoch, hellos)
	}
	other := r.get()
	other.Status.Epoch++
	for range 3 { // the other one is at work
		other.Status.Positions = &v1alpha1.Positions{Source: other.Status.Epoch + int64(hellos)}
		if err := r.Client.Status().Update(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		hellos = 0
		wait := r.reconcile().RequeueAfter
		if wait != r.Policy.Lease || hellos > 0 || r.get().Status.Epoch != 2 {
			t.Fatalf("after %v, %d HELLOs, epoch %d", wait, hellos, r.get().Status.Epoch)
		}
		r.later(wait - time.Second)
		other = r.get()
		other.Status.Positions.Target++
		if err := r.Client.Status().Update(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	r.later(r.reconcile().RequeueAfter)
	r.reconcile()
	if m := r.get(); m.Status.Epoch != 3 || hellos == 0 {
		t.Errorf("epoch %d, %d HELLOs, though nothing is seen of the other", m.Status.Epoch, hellos)
	}
}

// TestUnknownPhase: a migration in a phase of a later version is not written to,
// until it is deleted and has waited for that version long enough.
func TestUnknownPhase(t *testing.T) {
	const later = v1alpha1.MigrationPhase("Teleporting")
	r := newRig(t, object(later, replaying), interceptor.Funcs{}, target())
	before := r.get()
	if wait := r.reconcile().RequeueAfter; wait != 0 {
		t.Errorf("it is looked at after %v", wait)
	}
	if m := r.get(); m.ResourceVersion != before.ResourceVersion {
		t.Errorf("it was written to: %+v", m)
	}
	if err := r.Client.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	// The fake API server stamps the deletion with the real time.
	r.clock.SetTime(r.get().DeletionTimestamp.Time)
	if wait := r.reconcile().RequeueAfter; wait != r.Policy.Abandon || len(r.get().Finalizers) == 0 || r.get().Status.Phase != later {
		t.Errorf("after %v: %+v", wait, r.get())
	}
	r.later(r.Policy.Abandon)
	r.reconcile()
	var left v1alpha1.StatefulMigrationList
	if err := r.Client.List(t.Context(), &left); err != nil || len(left.Items) != 0 {
		t.Errorf("%v, %v: the finalizer hangs", left.Items, err)
	}
	if len(r.events.Events) != 1 {
		t.Errorf("%d events", len(r.events.Events))
	}
}
