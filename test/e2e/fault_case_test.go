package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// trial is a counter under load whose migration meets a fault. Every trial ends in
// one of two ways: the source counts on as if nothing had been, or the target
// does. In both nothing is lost, doubled or reordered, and nothing left behind.
type trial struct {
	*testing.T
	ctx  context.Context
	flow *harness.Flow
	m    *v1alpha1.StatefulMigration // as it was seen last
}

// begin starts the counter. Its migration is not made yet.
func begin(t *testing.T, change func(*harness.FlowConfig)) *trial {
	t.Helper()
	ctx := within(t, 4*time.Minute)
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	cfg := busy(strings.TrimPrefix(name, "test"))
	cfg.BallastMB, cfg.Rate = 48, 100 // for every phase to last
	if change != nil {
		change(&cfg)
	}
	return &trial{T: t, ctx: ctx, flow: startFlow(ctx, t, cfg)}
}

// migrate makes the migration when the counter has counted a while and something
// stands in its queue.
func (tr *trial) migrate(change func(*v1alpha1.StatefulMigration)) {
	tr.Helper()
	if err := tr.flow.Counted(tr.ctx, 100); err != nil {
		tr.Fatal(err)
	}
	if err := tr.flow.Fill(tr.ctx, 500); err != nil {
		tr.Fatal(err)
	}
	tr.submit(change)
}

// submit makes the migration as it is, whatever the counter does.
func (tr *trial) submit(change func(*v1alpha1.StatefulMigration)) {
	tr.Helper()
	tr.m = tr.flow.Migration(harness.NodeB)
	tr.m.Spec.Throttle = v1alpha1.ThrottleNever // for the replay to last until something is done to it
	if change != nil {
		change(tr.m)
	}
	if err := lab.Client.Create(tr.ctx, tr.m); err != nil {
		tr.Fatal(err)
	}
	m := tr.m
	tr.Cleanup(func() { deleteMigration(tr.T, m) })
}

// deadlines are short ones, for phases that are not to be done in time.
func deadlines(d v1alpha1.Deadlines) func(*v1alpha1.StatefulMigration) {
	return func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines = d }
}

// reach follows the migration into a phase; into Replaying until the copy has
// begun to replay.
func (tr *trial) reach(phase v1alpha1.MigrationPhase) {
	tr.Helper()
	tr.until(func(m *v1alpha1.StatefulMigration) bool {
		if slices.Contains(later(phase), m.Status.Phase) {
			tr.Fatalf("went past %s: %s", phase, harness.Summary(m))
		}
		return m.Status.Phase == phase && (phase != v1alpha1.PhaseReplaying || m.Status.Lag != nil)
	})
}

// until follows the migration until done says so, which it has to before the end.
func (tr *trial) until(done func(*v1alpha1.StatefulMigration) bool) {
	tr.Helper()
	tr.m = follow(tr.ctx, tr.T, tr.m, func(m *v1alpha1.StatefulMigration) bool { return done(m) || harness.Ended(m) })
	if !done(tr.m) {
		tr.Fatalf("it ended before: %s", harness.Summary(tr.m))
	}
}

// look reads the migration as it is now.
func (tr *trial) look() {
	tr.Helper()
	now := &v1alpha1.StatefulMigration{}
	if err := lab.Client.Get(tr.ctx, client.ObjectKeyFromObject(tr.m), now); err != nil {
		tr.Fatal(err)
	}
	tr.m = now
}

// tells follows the migration until one of its conditions is not True for that reason.
func (tr *trial) tells(kind, reason string) {
	tr.Helper()
	tr.until(func(m *v1alpha1.StatefulMigration) bool {
		c := meta.FindStatusCondition(m.Status.Conditions, kind)
		return c != nil && c.Status != metav1.ConditionTrue && c.Reason == reason
	})
	tr.Log(harness.Summary(tr.m))
}

// hit takes note of a fault that was done. It is undone by the test, or after it.
func (tr *trial) hit(undo harness.Undo, err error) (mend func()) {
	tr.Helper()
	mend = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := undo(ctx); err != nil {
			tr.Errorf("undo the fault: %v", err)
		}
	}
	if undo != nil {
		tr.Cleanup(mend) // also if it was done by half
	}
	if err != nil {
		tr.Fatal(err)
	}
	return mend
}

// ends follows the migration to its end, which is for that reason if it failed,
// in words that hold all of these.
func (tr *trial) ends(phase v1alpha1.MigrationPhase, reason string, words ...string) {
	tr.Helper()
	tr.m = follow(tr.ctx, tr.T, tr.m, harness.Ended)
	c := meta.FindStatusCondition(tr.m.Status.Conditions, v1alpha1.ConditionSucceeded)
	if tr.m.Status.Phase != phase || c == nil || c.Reason != reason {
		tr.Fatalf("want %s, %s: %s", phase, reason, harness.Summary(tr.m))
	}
	for _, w := range words {
		if !strings.Contains(c.Message, w) {
			tr.Errorf("the message does not tell of %q: %s", w, c.Message)
		}
	}
	tr.Logf("%s, %s: %s", phase, reason, c.Message)
}

// completes follows the migration to its good end.
func (tr *trial) completes() {
	tr.Helper()
	tr.ends(v1alpha1.PhaseCompleted, "Done")
}

// gaveUp follows the migration until it has given up for that reason, whatever it
// still has to wait for.
func (tr *trial) gaveUp(reason string) {
	tr.Helper()
	tr.until(func(m *v1alpha1.StatefulMigration) bool {
		c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSucceeded)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason
	})
	tr.Log(harness.Summary(tr.m))
}

// sourceAsBefore asserts that the source goes on as if nothing had been.
func (tr *trial) sourceAsBefore() {
	tr.Helper()
	pod, err := lab.PodReady(tr.ctx, keyOf(tr.flow.Pod))
	if err != nil {
		tr.Fatal(err)
	}
	if pod.UID != tr.flow.Pod.UID || pod.Status.ContainerStatuses[0].RestartCount != 0 {
		tr.Errorf("the source was replaced or restarted")
	}
	tr.serves(pod)
}

// targetServes asserts that the target has taken over.
func (tr *trial) targetServes() {
	tr.Helper()
	pod, err := lab.TargetPod(tr.ctx, tr.m)
	if err != nil {
		tr.Fatal(err)
	}
	tr.serves(pod)
}

// serves asserts that the counter counts on in a pod with the memory that it had,
// that it has lost nothing, and that nothing else is left. Outputs may have been
// repeated where connections were lost, and can be told.
func (tr *trial) serves(pod *corev1.Pod) {
	tr.Helper()
	tr.counts(100)
	outcome, err := tr.flow.Finish(tr.ctx, pod)
	if err != nil {
		tr.Fatal(err)
	}
	judgedBy(tr.T, outcome, load.Verdict.OKWithoutRepeated)
	if outcome.End.Consumer != "Live" {
		tr.Errorf("the counter is %s", outcome.End.Consumer)
	}
	noTraces(tr.ctx, tr.T, tr.flow, tr.m, pod)
	tr.noImage()
}

// noImage asserts that the checkpoint is not in the registry any more.
func (tr *trial) noImage() {
	tr.Helper()
	if tr.m.Status.CheckpointImage == nil {
		return
	}
	image, err := lab.Image(tr.ctx, tr.m.Status.CheckpointImage.Reference)
	if err != nil {
		tr.Fatal(err)
	}
	if image != nil {
		tr.Errorf("the registry still has %s", tr.m.Status.CheckpointImage.Reference)
	}
}

// counts waits until so many more messages are counted.
func (tr *trial) counts(n uint64) {
	tr.Helper()
	if err := tr.flow.Counted(tr.ctx, tr.flow.Collector.Count()+n); err != nil {
		tr.Fatal(err)
	}
}

// comesToLife waits until the source is Live again.
func (tr *trial) comesToLife() {
	tr.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		state, err := lab.State(tr.ctx, tr.flow.Pod)
		if err == nil && state.Consumer == "Live" {
			return
		}
		select {
		case <-again.C:
		case <-tr.ctx.Done():
			tr.Fatalf("the source is %s (%v)", state.Consumer, err)
		}
	}
}

// stands waits until nothing was put out for some time, which shows the fault.
func (tr *trial) stands(d time.Duration) {
	tr.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	count, since := tr.flow.Collector.Count(), time.Now()
	for time.Since(since) < d {
		select {
		case <-again.C:
		case <-tr.ctx.Done():
			tr.Fatal("the counter counts on")
		}
		if n := tr.flow.Collector.Count(); n != count {
			count, since = n, time.Now()
		}
	}
}

// managerAt runs the manager on the node that no fault is done to.
func managerAt(t *testing.T, flags ...string) {
	t.Helper()
	ctx := within(t, 2*time.Minute)
	restore, err := lab.SetManagerAt(ctx, harness.NodeC, flags...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if restore == nil {
			return
		}
		if err := restore(ctx); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
