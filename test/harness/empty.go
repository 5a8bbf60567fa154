package harness

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/load"
)

// EmptyPod starts a counter that nobody sends anything to, and removes it: what a
// pod's start (from creating it to ready) and end (from deleting it to gone) take
// by themselves.
func (l *Lab) EmptyPod(ctx context.Context, cfg CounterConfig) (start, end time.Duration, err error) {
	c := &Counter{CounterConfig: cfg, lab: l, Outputs: cfg.Namespace + "." + cfg.Name + ".out"}
	c.Queue = cfg.Namespace + "." + cfg.Name + ".in"
	if err := l.ensureNamespace(ctx, cfg.Namespace); err != nil {
		return 0, 0, err
	}
	if err := load.DeclareQueues(l.BrokerURL, cfg.Queues, c.Outputs, c.Queue); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, load.DeleteQueues(l.BrokerURL, c.Outputs, c.Queue)) }()
	pod := c.pod()
	begin := time.Now()
	if err := l.Client.Create(ctx, pod); err != nil {
		return 0, 0, err
	}
	_, err = l.PodReady(ctx, client.ObjectKeyFromObject(pod))
	start = time.Since(begin)
	begin = time.Now()
	err = errors.Join(err, l.Client.Delete(ctx, pod), Gone(ctx, l, pod, &corev1.PodList{}))
	return start, time.Since(begin), err
}
