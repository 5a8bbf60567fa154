package e2e

import (
	"context"
	"maps"
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestStatefulSet moves counter-0 of the StatefulSet counter, which gets 100
// messages per second, and asserts one by one that every part of the way was gone.
func TestStatefulSet(t *testing.T) {
	for _, strategy := range []v1alpha1.Strategy{v1alpha1.StrategyShadow, v1alpha1.StrategySequential} {
		t.Run(string(strategy), func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			set := startStateful(ctx, t, harness.WorkloadConfig{Name: "counter"})
			flow := set.Ordinals[0]
			if err := flow.Counted(ctx, 200); err != nil {
				t.Fatal(err)
			}
			watched, err := set.Watch(ctx)
			if err != nil {
				t.Fatal(err)
			}
			m := moveNext(ctx, t, flow, 1, func(m *v1alpha1.StatefulMigration) {
				m.Spec.CheckpointRetention = v1alpha1.RetentionRetain
				if strategy != v1alpha1.StrategyShadow {
					m.Spec.Strategy = strategy // Shadow is what Auto comes to
				}
			})
			if err := set.Steady(ctx); err != nil {
				t.Fatal(err)
			}
			t.Run("the owner and the clients", func(t *testing.T) { ownersView(ctx, t, watched, strategy, flow.Name) })
			t.Run("every step", func(t *testing.T) { assertSteps(ctx, t, flow, m, strategy) })
			t.Run("the same pod by name", func(t *testing.T) { assertSameOrdinal(t, m) })
			t.Run("the final counter equals what was sent", func(t *testing.T) { finishAll(ctx, t, set, load.Verdict.OK) })
			t.Run("nothing is left behind", func(t *testing.T) { noTraces(ctx, t, flow, m.Migration, m.Target) })
		})
	}
}

// ownersView asserts what the owner and the clients of a StatefulSet may see. The
// ordinal's name can exist once only, so its set counts one less while the new pod
// starts. With a shadow, the Services do not notice; without, there is nobody else.
func ownersView(ctx context.Context, t *testing.T, watched *harness.OwnerWatch, strategy v1alpha1.Strategy, moved string) {
	t.Helper()
	if strategy == v1alpha1.StrategyShadow {
		undisturbed(ctx, t, watched, 3, true, moved)
		return
	}
	v, err := watched.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("readyReplicas below 3 for %.2f s, ready endpoints for %.2f s: %v",
		v.Ready.Below(3, v.End).Seconds(), v.Endpoints.Below(3, v.End).Seconds(), v.Endpoints)
	if v.Ready.Min() < 2 || v.Endpoints.Min() < 2 || v.Healthy.Min() < 2 || len(v.Generations) != 1 {
		t.Errorf("more than one pod was missing, or the spec was changed: %+v", v)
	}
	for _, told := range v.Disturbed(moved) {
		t.Error(told)
	}
}

func assertSteps(ctx context.Context, t *testing.T, flow *harness.Flow, m *harness.Move, strategy v1alpha1.Strategy) {
	t.Helper()
	for _, c := range []string{
		v1alpha1.ConditionReady, v1alpha1.ConditionCheckpointed, v1alpha1.ConditionTransferred,
		v1alpha1.ConditionRestored, v1alpha1.ConditionReplayed, v1alpha1.ConditionCommitted, v1alpha1.ConditionSucceeded,
	} {
		holds(t, m.Migration, c)
	}
	s := m.Migration.Status
	if s.Strategy != strategy {
		t.Errorf("strategy %s, want %s", s.Strategy, strategy)
	}
	if s.Owner == nil || s.Owner.Kind != "StatefulSet" {
		t.Errorf("owner %+v", s.Owner)
	}
	committed(t, m.Migration, map[v1alpha1.Strategy]int{v1alpha1.StrategyShadow: 2, v1alpha1.StrategySequential: 1}[strategy])
	for _, h := range s.Hops {
		assertImage(ctx, t, h.CheckpointImage)
	}
	if s.Placement != nil {
		t.Errorf("the next pod would be steered, too: %+v", s.Placement)
	}
	for _, c := range m.Target.Status.ContainerStatuses {
		if c.RestartCount != 0 {
			t.Errorf("container %s was restarted", c.Name)
		}
	}
	if m.Target.UID == m.Source.UID || m.Target.Spec.NodeName == m.Source.Spec.NodeName {
		t.Errorf("pod %s is still %s on %s", flow.Name, m.Target.UID, m.Target.Spec.NodeName)
	}
}

// assertSameOrdinal asserts that a StatefulSet's pod kept what makes it that.
func assertSameOrdinal(t *testing.T, m *harness.Move) {
	t.Helper()
	was, is := m.Source, m.Target
	if is.Name != was.Name {
		t.Errorf("name %s, was %s", is.Name, was.Name)
	}
	if !reflect.DeepEqual(is.OwnerReferences, was.OwnerReferences) {
		t.Errorf("owner %+v, was %+v", is.OwnerReferences, was.OwnerReferences)
	}
	if got := is.Labels[appsv1.PodIndexLabel]; got != "0" {
		t.Errorf("ordinal %q", got)
	}
	if got, want := ownLabels(is), ownLabels(was); !maps.Equal(got, want) {
		t.Errorf("labels %v, were %v", got, want)
	}
	if is.Spec.Hostname != was.Spec.Hostname || is.Spec.Subdomain != was.Spec.Subdomain {
		t.Errorf("host %s in %s, was %s in %s", is.Spec.Hostname, is.Spec.Subdomain, was.Spec.Hostname, was.Spec.Subdomain)
	}
}

// ownLabels are a pod's labels without ours.
func ownLabels(p *corev1.Pod) map[string]string {
	labels := maps.Clone(p.Labels)
	delete(labels, v1alpha1.LabelMigration)
	return labels
}

// TestStatefulSetTenTimes moves one ordinal ten times round the nodes under load.
func TestStatefulSetTenTimes(t *testing.T) {
	for name, tc := range map[string]struct {
		strategy v1alpha1.Strategy
		ordered  bool
		queues   load.Kind
	}{
		"shadow":     {v1alpha1.StrategyShadow, false, load.Classic},
		"sequential": {v1alpha1.StrategySequential, true, load.QuorumUnlimited},
	} {
		t.Run(name, func(t *testing.T) {
			const moves = 10
			ctx := within(t, 8*time.Minute)
			set := startStateful(ctx, t, harness.WorkloadConfig{Name: "ten-" + name, Ordered: tc.ordered, Queues: tc.queues})
			flow := set.Ordinals[1]
			if err := flow.Counted(ctx, 200); err != nil {
				t.Fatal(err)
			}
			watched, err := set.Watch(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var done []*harness.Move
			for n := range moves {
				m := moveNext(ctx, t, flow, n+1, func(m *v1alpha1.StatefulMigration) { m.Spec.Strategy = tc.strategy })
				if m.Target.Name != flow.Name {
					t.Fatalf("the ordinal is %s now", m.Target.Name)
				}
				done = append(done, m)
			}
			if err := set.Steady(ctx); err != nil {
				t.Fatal(err)
			}
			ownersView(ctx, t, watched, tc.strategy, flow.Name)
			outcomes := finishAll(ctx, t, set, load.Verdict.OK)
			for _, m := range done {
				noTraces(ctx, t, flow, m.Migration, flow.Pod)
			}
			if n := outcomes[1].End.Count; n < moves*100 {
				t.Errorf("counted %d messages in %d moves: that is no load", n, moves)
			}
		})
	}
}
