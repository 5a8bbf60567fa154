package controller_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/mock/gomock"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/controller"
)

// TestAccess: what is allowed is asked once for all migrations, for a time; what is not,
// every time, so that nobody waits for what was mended.
func TestAccess(t *testing.T) {
	t.Parallel()
	asked, allowed := 0, true
	api := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			asked++
			o.(*authorizationv1.SelfSubjectAccessReview).Status.Allowed = allowed
			return nil
		},
	})
	clock := testclock.NewFakePassiveClock(time.Unix(1000, 0))
	access := controller.AccessOf(api, clock)
	ask := func(namespace string, want bool, wantAsked int) {
		t.Helper()
		got, err := access.Allowed(t.Context(), authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Resource: "pods"})
		if err != nil || got != want || asked != wantAsked {
			t.Errorf("%v, %v, after %d questions; want %v after %d", got, err, asked, want, wantAsked)
		}
	}
	ask("a", true, 1)
	ask("a", true, 1)
	ask("b", true, 2) // it is another question
	clock.SetTime(clock.Now().Add(9 * time.Second))
	ask("a", true, 2)
	allowed = false
	clock.SetTime(clock.Now().Add(time.Second))
	ask("a", false, 3)
	ask("a", false, 4)
	allowed = true
	ask("a", true, 5)
	ask("a", true, 5)
}

// TestSurvey: the nodes are not looked at with every event before a migration begins,
// but again when some time has passed: one may have come, or gone.
func TestSurvey(t *testing.T) {
	t.Parallel()
	looks := 0
	r := newRig(t, object(v1alpha1.PhasePending), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Node); ok && key.Name == "node-a" {
				looks++
			}
			return c.Get(ctx, key, o, opts...)
		},
	}, installation()...).connected()
	r.broker.EXPECT().Look(gomock.Any(), gomock.Any()).Return(nil, broker.ErrUnavailable).AnyTimes()
	r.broker.EXPECT().Forget(gomock.Any()).AnyTimes() // it is given up in the end
	r.brokers.EXPECT().Release(gomock.Any()).AnyTimes()
	node := func() metav1.ConditionStatus {
		r.reconcile()
		c := meta.FindStatusCondition(r.get().Status.Preflight, "Nodes")
		if c == nil {
			t.Fatal("the nodes were not looked at")
		}
		return c.Status
	}
	for range 3 {
		if got := node(); got != metav1.ConditionTrue || looks != 1 {
			t.Errorf("%s after %d looks, want one for all events of a moment", got, looks)
		}
	}
	if err := r.Client.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}}); err != nil {
		t.Fatal(err)
	}
	r.later(r.Policy.Poll)
	if got := node(); got != metav1.ConditionFalse || looks != 2 {
		t.Errorf("%s after %d looks, though the target node has gone", got, looks)
	}
}

// TestLegsAreGone: legs that the cache shows are there, and nobody asks the API server;
// that there is none it is not believed, until the API server has said so, too.
func TestLegsAreGone(t *testing.T) {
	t.Parallel()
	lists := 0
	m := object(v1alpha1.PhaseFinalizing)
	r := newRig(t, m, interceptor.Funcs{}, installation()...).connected()
	leg := &v1alpha1.CheckpointTransfer{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "leg", Labels: map[string]string{v1alpha1.LabelMigration: uid}}}
	if err := r.Client.Create(t.Context(), leg); err != nil {
		t.Fatal(err)
	}
	r.Live = interceptor.NewClient(r.Client.(client.WithWatch), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			lists++
			return c.List(ctx, list, opts...)
		},
	})
	legs := r.Legs(m)
	for _, want := range []struct{ legs, lists int }{{1, 0}, {0, 1}, {0, 1}} {
		if got, err := legs(t.Context()); err != nil || got != want.legs || lists != want.lists {
			t.Errorf("%d legs after %d questions, %v; want %+v", got, lists, err, want)
		}
		if err := client.IgnoreNotFound(r.Client.Delete(t.Context(), leg)); err != nil {
			t.Fatal(err)
		}
	}
}
