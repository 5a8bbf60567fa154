package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

const (
	makers   = 8               // make pods and migrations side by side
	patience = 5 * time.Minute // for what is no part of what is measured
	// looks is how often the manager's metrics are read while it works.
	looks = 2 * time.Second
)

// measure moves n pods at once.
func (w *world) measure(ctx context.Context, s series, n int) (c result, err error) {
	c = result{Series: s.Name, N: n, Load: loadAverage()}
	pods, err := w.makePods(ctx, n)
	if err != nil {
		return c, err
	}
	name := fmt.Sprintf("%s-%d", s.Name, n)
	m, err := w.startManager(name, s.Flags)
	if err != nil {
		return c, err
	}
	defer func() {
		if err == nil {
			err = w.clear(ctx) // else it stays as it is: there is no case after this
		}
		err = errors.Join(err, m.stop())
	}()
	var before usage
	if err := await(ctx, "the manager is at work", func() (bool, error) {
		var err error
		if before, err = m.usage(); err != nil {
			return false, m.alive() // it does not serve yet
		}
		return before.Active > 0, nil
	}); err != nil {
		return c, err
	}
	if _, err := w.audit.next(); err != nil {
		return c, err
	}
	others, err := used()
	if err != nil {
		return c, err
	}
	var profiled sync.WaitGroup
	if w.profile {
		profiled.Go(func() {
			w.plane.fail(m.profile("profile?seconds=30", filepath.Join(w.out, name+".cpu.pprof")))
		})
		profiled.Go(func() {
			w.plane.fail(w.profileAPI(ctx, filepath.Join(w.out, name+".api.pprof")))
		})
	}
	defer profiled.Wait()
	began := time.Now()
	created, err := w.makeMigrations(ctx, pods)
	if err != nil {
		return c, err
	}
	most, ended, err := w.follow(ctx, m, n)
	if err != nil {
		return c, err
	}
	c.Took = slices.MaxFunc(slices.Collect(maps.Values(ended)), time.Time.Compare).Sub(began)
	after, err := w.settle(ctx, m, &c)
	if err != nil {
		return c, err
	}
	for name := range c.Others {
		c.Others[name] -= others[name]
	}
	if w.profile {
		if err := m.profile("heap", filepath.Join(w.out, name+".heap.pprof")); err != nil {
			return c, err
		}
	}
	for name, at := range ended {
		c.Each = append(c.Each, at.Sub(created[name]))
	}
	slices.Sort(c.Each)
	c.CPU, c.Reconciles, c.Requests = after.CPU-before.CPU, after.Reconciles-before.Reconciles, after.Requests-before.Requests
	c.Idle, c.Peak, c.Depth = before.Resident, after.Peak, most
	c.Wait = (after.Waits - before.Waits) / (after.Waited - before.Waited)
	return c, w.check(ctx, pods)
}

// settle waits until the manager has let go of everything, and reads what it has cost.
func (w *world) settle(ctx context.Context, m *manager, c *result) (after usage, err error) {
	if err := await(ctx, "the finalizers to go", func() (bool, error) {
		all, err := w.migrations(ctx)
		return !slices.ContainsFunc(all, func(m v1alpha1.StatefulMigration) bool { return len(m.Finalizers) > 0 }), err
	}); err != nil {
		return after, err
	}
	if after, err = m.usage(); err != nil {
		return after, err
	}
	if c.Calls, err = w.audit.next(); err != nil {
		return after, err
	}
	if c.Others, err = used(); err != nil {
		return after, err
	}
	all, err := w.migrations(ctx)
	for i := range all {
		if st := &all[i].Status; st.StartedAt != nil && st.EndedAt != nil {
			c.Active = append(c.Active, st.EndedAt.Sub(st.StartedAt.Time))
		}
	}
	slices.Sort(c.Active)
	return after, err
}

// makePods makes the services, in turn on the nodes, and waits until they are ready.
func (w *world) makePods(ctx context.Context, n int) ([]*corev1.Pod, error) {
	pods := make([]*corev1.Pod, n)
	if err := together(n, func(i int) error {
		pod := newPod(namespace, fmt.Sprintf("pod-%04d", i), node(i%w.nodes))
		queue := fmt.Sprintf("orders-%04d", i)
		pod.Annotations = map[string]string{annotationQueue: queue}
		pods[i] = pod
		return errors.Join(w.plane.declare(queue), w.kube.Create(ctx, pod))
	}); err != nil {
		return nil, err
	}
	return pods, await(ctx, "the pods to be ready", func() (bool, error) {
		var list corev1.PodList
		err := w.seen.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)
		ready := 0
		for i := range list.Items {
			if is(&list.Items[i], corev1.PodReady, corev1.ConditionTrue) {
				ready++
			}
		}
		return ready == n, err
	})
}

// makeMigrations has each pod move to the next node, and says when each was asked for.
func (w *world) makeMigrations(ctx context.Context, pods []*corev1.Pod) (map[string]time.Time, error) {
	var mu sync.Mutex
	created := map[string]time.Time{}
	return created, together(len(pods), func(i int) error {
		at := time.Now()
		err := w.kube.Create(ctx, &v1alpha1.StatefulMigration{
			ObjectMeta: metav1.ObjectMeta{Name: pods[i].Name, Namespace: namespace},
			Spec: v1alpha1.StatefulMigrationSpec{
				SourcePod:                 v1alpha1.PodReference{Name: pods[i].Name},
				TargetNode:                &v1alpha1.TargetNode{Name: node((i + 1) % w.nodes)},
				CheckpointImageRepository: w.http.registry + "/checkpoints",
				MessageQueueConfig: v1alpha1.MessageQueueConfig{
					BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: secret, Key: "url"}, QueueName: queueOf(pods[i]),
				},
			},
		})
		mu.Lock()
		defer mu.Unlock()
		created[pods[i].Name] = at
		return err
	})
}

// together does something n times, some side by side.
func together(n int, do func(i int) error) error {
	var done sync.WaitGroup
	errs, next := make([]error, n), make(chan int)
	for range makers {
		done.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	done.Wait()
	return errors.Join(errs...)
}

func (w *world) migrations(ctx context.Context) ([]v1alpha1.StatefulMigration, error) {
	var list v1alpha1.StatefulMigrationList
	err := w.seen.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)
	return list.Items, err
}

// follow waits until all are Completed, and says when each was seen to be.
func (w *world) follow(ctx context.Context, m *manager, n int) (depth float64, ended map[string]time.Time, err error) {
	ended = map[string]time.Time{}
	last, looked := time.Now(), time.Now()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for len(ended) < n {
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case now := <-ticker.C:
			all, err := w.migrations(ctx)
			if err != nil {
				return 0, nil, err
			}
			for i := range all {
				one := &all[i]
				if _, known := ended[one.Name]; known || one.Status.Phase != v1alpha1.PhaseCompleted && one.Status.Phase != v1alpha1.PhaseFailed {
					continue
				}
				if one.Status.Phase == v1alpha1.PhaseFailed {
					return 0, nil, fmt.Errorf("%s has failed: %s", one.Name, explain(one))
				}
				ended[one.Name], last = now, now
			}
			if now.Sub(last) > w.stalled {
				return 0, nil, fmt.Errorf("%d of %d are Completed, and no more within %v\n%s", len(ended), n, w.stalled, stuck(all))
			}
			if now.Sub(looked) < looks {
				continue
			}
			u, err := m.usage()
			if err != nil {
				return 0, nil, errors.Join(err, m.alive())
			}
			looked, depth = now, max(depth, u.Depth)
		}
	}
	return depth, ended, nil
}

// stuck tells of the first that have not ended.
func stuck(all []v1alpha1.StatefulMigration) string {
	var out []string
	for i := range all {
		if m := &all[i]; m.Status.Phase != v1alpha1.PhaseCompleted && len(out) < 10 {
			out = append(out, fmt.Sprintf("%s: %s %s", m.Name, m.Status.Phase, explain(m)))
		}
	}
	return strings.Join(out, "\n")
}

func explain(m *v1alpha1.StatefulMigration) string {
	var out []string
	for _, c := range slices.Concat(m.Status.Conditions, m.Status.Preflight) {
		if c.Reason != migration.ReasonPassed {
			out = append(out, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
		}
	}
	return strings.Join(out, "; ")
}

// check fails unless each state is on its next node, committed once, and nothing else is left.
func (w *world) check(ctx context.Context, pods []*corev1.Pod) error {
	var errs []error
	var there corev1.PodList
	var legs v1alpha1.CheckpointTransferList
	if err := errors.Join(w.kube.List(ctx, &there, client.InNamespace(namespace)), w.kube.List(ctx, &legs, client.InNamespace(namespace))); err != nil {
		return err
	}
	if len(there.Items) != len(pods) {
		errs = append(errs, fmt.Errorf("%d pods, want %d", len(there.Items), len(pods)))
	}
	if len(legs.Items) != 0 {
		errs = append(errs, fmt.Errorf("%d CheckpointTransfers are left", len(legs.Items)))
	}
	where := map[string]string{} // of states, by the UID of the pod that they began in
	for i := range there.Items {
		if state, live := w.plane.stateIn(string(there.Items[i].UID)); live {
			where[state] = there.Items[i].Spec.NodeName
		}
	}
	for i, pod := range pods {
		if got, want := where[string(pod.UID)], node((i+1)%w.nodes); got != want {
			errs = append(errs, fmt.Errorf("the state of %s is on %q, want %q", pod.Name, got, want))
		}
	}
	commits, doubled := w.plane.committed()
	if commits != len(pods) || doubled != 0 {
		errs = append(errs, fmt.Errorf("%d migrations are committed, %d of them more than once; want %d", commits, doubled, len(pods)))
	}
	queues, err := w.broker.Ctl("list_queues", "-q", "--no-table-headers", "name")
	errs = append(errs, err)
	exchanges, err := w.broker.Ctl("list_exchanges", "-q", "--no-table-headers", "name")
	errs = append(errs, err)
	for _, left := range w.plane.left(strings.Fields(string(queues)), strings.Fields(string(exchanges))) {
		errs = append(errs, fmt.Errorf("left behind: %s", left))
	}
	return errors.Join(errs...)
}

// clear takes away the migrations and pods of a case.
func (w *world) clear(ctx context.Context) error {
	in := client.InNamespace(namespace)
	if err := errors.Join(w.kube.DeleteAllOf(ctx, &v1alpha1.StatefulMigration{}, in), w.kube.DeleteAllOf(ctx, &corev1.Pod{}, in)); err != nil {
		return err
	}
	err := await(ctx, "the last case to be gone", func() (bool, error) {
		var pods corev1.PodList
		err := w.seen.List(ctx, &pods, in, client.UnsafeDisableDeepCopy)
		all, err2 := w.migrations(ctx)
		return len(pods.Items)+len(all) == 0, errors.Join(err, err2)
	})
	w.plane.forget()
	return err
}

// loadAverage is the machine's, of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
