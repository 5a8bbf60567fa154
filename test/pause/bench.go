package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/test/harness"
)

// way is when the source goes on.
type way string

const (
	answer way = "answer"
	frozen way = "frozen"
	thaw   way = "thaw"
)

var ways = []way{answer, frozen, thaw}

// spacing is between two calls of the kubelet: its archives are named by the second,
// and the client would wait while the source is paused.
const spacing = 1100 * time.Millisecond

// roundTimeout bounds one checkpoint.
const roundTimeout = 2 * time.Minute

// sample is one checkpoint.
type sample struct {
	way   way
	parts map[string]time.Duration
}

// bench plays the manager for one counter.
type bench struct {
	lab     *harness.Lab
	flow    *harness.Flow
	kubelet *kubelet.Client
	pool    *broker.Pool
	broker  *broker.Client
	heard   chan struct{} // something was
	uid     string
	attempt int
	after   <-chan time.Time // the next call is not to be made before that
}

func newBench(ctx context.Context, lab *harness.Lab, mib int) (*bench, error) {
	b := &bench{lab: lab, heard: make(chan struct{}, 1), uid: "pause-" + rand.String(8)}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig())
	if err != nil {
		return nil, err
	}
	if b.kubelet, err = kubelet.ThroughProxy(config, clock.RealClock{}); err != nil {
		return nil, err
	}
	b.flow, err = lab.StartFlow(ctx, harness.FlowConfig{
		CounterConfig: harness.CounterConfig{Namespace: "ms2m-pause", Name: b.uid, BallastMB: mib, Work: 2 * time.Millisecond},
		Rate:          100, Producers: 1,
	})
	if err != nil {
		return nil, err
	}
	b.pool = broker.NewPool(clock.RealClock{}, func(string) {
		select {
		case b.heard <- struct{}{}:
		default:
		}
	})
	b.broker = b.pool.Acquire(lab.BrokerURL)
	if err := b.until(ctx, func() bool { return b.broker.Generation() > 0 }); err != nil {
		return nil, err
	}
	return b, b.broker.CreateReplayQueue(ctx, handover.ReplayQueue(b.uid))
}

// close writes ABORT, so that the counter is as before, and removes everything.
func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := b.broker.WriteAbort(ctx, b.uid)
	err = errors.Join(err, b.flow.Close(ctx), b.broker.DeleteQueue(ctx, handover.ReplayQueue(b.uid)), b.broker.RemoveDecision(ctx, b.uid))
	b.pool.Close()
	return err
}

// series takes the ways by turns, so that what else happens on the machine hits
// them alike. The first checkpoint of each is not counted: it warms caches.
func (b *bench) series(ctx context.Context, rounds int) ([]sample, error) {
	var out []sample
	for round := range rounds + 1 {
		for _, w := range ways {
			ctx, cancel := context.WithTimeout(ctx, roundTimeout)
			s, err := b.checkpoint(ctx, w)
			cancel()
			if err != nil {
				log, _ := b.lab.Exec(context.WithoutCancel(ctx), b.flow.Node, "sh", "-c", "tail -n 30 /run/containerd/io.containerd.runtime.v2.task/k8s.io/*/criu-dump.log")
				return out, fmt.Errorf("round %d, %s: %w\n%s", round, w, err, log)
			}
			if round > 0 {
				out = append(out, *s)
			}
		}
	}
	return out, nil
}

// checkpoint is one attempt, in the order of internal/migration.
func (b *bench) checkpoint(ctx context.Context, w way) (*sample, error) {
	b.attempt++
	attended := b.transfer(w)
	if err := b.lab.Client.Create(ctx, attended); err != nil {
		return nil, err
	}
	if err := b.condition(ctx, attended, v1alpha1.TransferReady); err != nil {
		return nil, err
	}
	if b.after != nil {
		<-b.after
	}
	s := &sample{way: w, parts: map[string]time.Duration{}}
	start := time.Now()
	if err := b.ask(ctx, handover.Prepare, handover.Paused); err != nil {
		return nil, err
	}
	called := time.Now()
	answered := make(chan error, 1)
	var archive string
	go func() {
		var err error
		archive, err = b.kubelet.Checkpoint(ctx, b.flow.Node, b.flow.Namespace, b.flow.Pod.Name, harness.CounterContainer)
		s.parts[partAnswer] = time.Since(called)
		answered <- err
	}()
	if w == answer {
		if err := <-answered; err != nil {
			return nil, err
		}
	} else if err := b.condition(ctx, attended, v1alpha1.TransferFrozen); err != nil {
		return nil, err
	}
	told := time.Now()
	if err := b.ask(ctx, handover.Resume, handover.Relaying); err != nil {
		return nil, err
	}
	if w != answer {
		if err := <-answered; err != nil {
			return nil, err
		}
	}
	b.after = time.After(spacing)
	if err := b.condition(ctx, attended, v1alpha1.TransferComplete); err != nil {
		return nil, err
	}
	h, _ := b.broker.Heard(string(b.flow.Pod.UID))
	s.parts[partPause] = time.Duration(h.Last.Status.PauseMillis) * time.Millisecond
	s.parts[partDrain], s.parts[partTold] = called.Sub(start), told.Sub(called)
	return s, errors.Join(s.times(attended.Status.Times), b.tidy(ctx, attended, archive))
}

// times adds what the agent has measured.
func (s *sample) times(t *v1alpha1.CheckpointTimes) error {
	if t == nil {
		return errors.New("the agent has measured nothing")
	}
	for part, millis := range map[string]int64{
		partBegin: t.BeginMillis, partDump: t.DumpMillis, partFreezing: t.FreezingMillis, partFrozen: t.FrozenMillis, partThaw: t.ThawMillis,
	} {
		s.parts[part] = time.Duration(millis) * time.Millisecond
	}
	s.parts[partRest] = s.parts[partPause] - s.parts[partDrain] - s.parts[partBegin] - s.parts[partDump] - s.parts[partThaw]
	return nil
}

func (b *bench) transfer(w way) *v1alpha1.CheckpointTransfer {
	return &v1alpha1.CheckpointTransfer{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.flow.Namespace, Name: fmt.Sprintf("%s-%d", b.uid, b.attempt), Finalizers: []string{v1alpha1.FinalizerTransfer},
		},
		Spec: v1alpha1.CheckpointTransferSpec{
			Direction: v1alpha1.TransferThaw, NodeName: b.flow.Node, MigrationUID: types.UID(b.uid), Attempt: int32(b.attempt),
			PodName: b.flow.Pod.Name, PodUID: b.flow.Pod.UID, Container: harness.CounterContainer, KeepFrozen: w != thaw,
		},
	}
}

// condition waits until a condition of t is True, and reads t.
func (b *bench) condition(ctx context.Context, t *v1alpha1.CheckpointTransfer, kind string) error {
	return harness.Until(ctx, b.lab, t.DeepCopy(), &v1alpha1.CheckpointTransferList{}, func(now *v1alpha1.CheckpointTransfer) (bool, error) {
		if now == nil {
			return false, errors.New("the transfer is gone")
		}
		*t = *now
		if c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.TransferComplete); c != nil && (c.Status == metav1.ConditionFalse || c.Reason == v1alpha1.TransferReasonUnattended) {
			return false, fmt.Errorf("the agent: %s: %s", c.Reason, c.Message)
		}
		return meta.IsStatusConditionTrue(now.Status.Conditions, kind), nil
	})
}

// ask sends a command and waits for the state that it leads to.
func (b *bench) ask(ctx context.Context, kind handover.CommandKind, state handover.State) error {
	err := b.broker.Send(ctx, handover.Command{
		Version: handover.Version, Kind: kind, Migration: b.uid, Attempt: b.attempt, Epoch: 1, PodUID: string(b.flow.Pod.UID),
		ReplayQueue: handover.ReplayQueue(b.uid), DeadlineMillis: roundTimeout.Milliseconds(), LeaseMillis: 2 * roundTimeout.Milliseconds(),
	}, fmt.Sprintf("%s-%d", kind, b.attempt))
	if err != nil {
		return err
	}
	return b.until(ctx, func() bool {
		h, ok := b.broker.Heard(string(b.flow.Pod.UID))
		return ok && h.Last.Status.State == state && h.Last.Status.Attempt == b.attempt
	})
}

func (b *bench) until(ctx context.Context, done func() bool) error {
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-b.heard:
		}
	}
	return nil
}

// tidy removes the transfer and the archive.
func (b *bench) tidy(ctx context.Context, t *v1alpha1.CheckpointTransfer, archive string) error {
	_, err := b.lab.Exec(ctx, b.flow.Node, "rm", "/var/lib/kubelet/checkpoints/"+archive)
	return errors.Join(err, b.lab.Client.Delete(ctx, t), harness.Gone(ctx, b.lab, t, &v1alpha1.CheckpointTransferList{}))
}
