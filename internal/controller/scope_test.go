package controller_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.uber.org/mock/gomock"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// pushing is while the agent packs and pushes.
func pushing(m *v1alpha1.StatefulMigration) {
	m.Status.Attempt, m.Status.CheckpointID = 1, "a.tar"
	m.Status.TargetPodName, m.Status.TargetPodUID = "target", targetUID
}

// TestAhead: what needs no record does not wait for the write of one, which is made all
// the same. TestConflict has an action that does wait.
func TestAhead(t *testing.T) {
	m := object(v1alpha1.PhaseTransferring, buffered, pushing)
	pushed := &v1alpha1.CheckpointTransfer{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: migration.TransferName(m, v1alpha1.TransferPush, 1),
			Labels: map[string]string{v1alpha1.LabelMigration: uid, v1alpha1.LabelHandover: uid},
		},
		Spec: v1alpha1.CheckpointTransferSpec{Direction: v1alpha1.TransferPush, MigrationUID: uid, Attempt: 1},
		Status: v1alpha1.CheckpointTransferStatus{
			Image:      &v1alpha1.CheckpointImage{Reference: "registry/checkpoints@sha256:00", Digest: "sha256:00"},
			Conditions: []metav1.Condition{{Type: v1alpha1.TransferComplete, Status: metav1.ConditionTrue, Reason: "Done"}},
		},
	}
	copied := pod("target", targetUID, "node-b")
	copied.Labels = map[string]string{v1alpha1.LabelMigration: uid}
	var order []string
	r := newRig(t, m, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			order = append(order, "stage")
			return c.Create(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			order = append(order, string(o.(*v1alpha1.StatefulMigration).Status.Phase))
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	}, pushed, copied).connected()
	r.says(sourceUID, handover.Status{State: handover.Relaying, Attempt: 1})
	r.expectSend(handover.Hello, nil).AnyTimes()
	r.registry.EXPECT().Exists(gomock.Any(), "registry/checkpoints@sha256:00").DoAndReturn(func(context.Context, string) (bool, error) {
		order = append(order, "ask")
		return true, nil
	})
	r.reconcile()
	asked, staged, written := slices.Index(order, "ask"), slices.Index(order, "stage"), slices.Index(order, string(v1alpha1.PhaseRestoring))
	if asked < 0 || staged < asked || written < staged {
		t.Errorf("order %v", order)
	}
	if st := r.get().Status; st.Phase != v1alpha1.PhaseRestoring || st.CheckpointImage == nil {
		t.Errorf("status %+v", st)
	}
}

// TestOldView: what was made just now is not made again because the cache does not
// show it yet, however often the migration is woken; when the cache has had its time, it is.
func TestOldView(t *testing.T) {
	made := 0
	r := newRig(t, object(v1alpha1.PhaseTransferring, buffered, pushing), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, ok := o.(*v1alpha1.CheckpointTransfer); ok {
				made++
				return nil // and no List shows it
			}
			return c.Create(ctx, o, opts...)
		},
	}).connected()
	r.says(sourceUID, handover.Status{State: handover.Relaying, Attempt: 1})
	r.expectSend(handover.Hello, nil).AnyTimes()
	for round := 1; round <= 3; round++ {
		for range 4 {
			if again := r.reconcile().RequeueAfter; again <= 0 || again > 100*time.Millisecond {
				t.Errorf("looks again after %v", again)
			}
		}
		if made != round {
			t.Errorf("made %d times, want %d", made, round)
		}
		r.later(100 * time.Millisecond)
	}
}
