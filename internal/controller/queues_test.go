package controller_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"go.uber.org/mock/gomock"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestHeldQueues: of several queues, those are held of which the source is the only
// consumer; those that others consume, too, and those that nobody consumes are not.
func TestHeldQueues(t *testing.T) {
	m := object(v1alpha1.PhaseCheckpointing)
	c := &m.Spec.MessageQueueConfig
	c.QueueName, c.QueueNames = "", []string{"shared", "inbox", "idle", "payments"}
	r := newRig(t, m, interceptor.Funcs{}).connected()
	consumers := map[string]int{"shared": 2, "inbox": 1, "payments": 1, "idle": 0}
	r.broker.EXPECT().Look(gomock.Any(), gomock.Any()).Times(len(consumers)).DoAndReturn(
		func(_ context.Context, queue string) (*broker.Queue, error) {
			return &broker.Queue{Consumers: consumers[queue]}, nil
		})
	var mu sync.Mutex
	var keys []string
	r.broker.EXPECT().SetHold(gomock.Any(), gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(_ context.Context, key string, _ handover.Hold) error {
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, key)
			return nil
		})
	r.broker.EXPECT().CreateReplayQueue(gomock.Any(), gomock.Any())
	r.expectSend(handover.Hello, nil)
	r.reconcile()
	want := []string{uid, sourceUID, handover.PodSlot("ns", "counter"), handover.QueueSlot("inbox"), handover.QueueSlot("payments")}
	slices.Sort(keys) // they are set at once
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		t.Errorf("holds %v, want %v", keys, want)
	}
}
