package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/failpoint"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestUnsteered lets the StatefulSet make its pod again while the API server does
// not know the placement yet: the pod takes nothing, goes, and is made again.
//
// Other tests need the policy: it is kept from this test's namespace alone, by a
// label that its binding is made to look at (blindfold).
func TestUnsteered(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{shadowed, sequential} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, k)
			var strays []string // UIDs
			w.blind(true)
			w.start(nil)
			w.create()
			w.eventually("a pod that is not steered", func() bool {
				for _, p := range w.pods() {
					if p.Name == w.source.Name && p.UID != w.source.UID && p.Labels[v1alpha1.LabelMigration] == "" {
						strays = append(strays, string(p.UID))
					}
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, uid := range strays {
					if in := w.instances[uid]; in != nil && in.State != handover.Held && in.State != handover.Retired {
						t.Errorf("it is %s", in.State)
					}
				}
				return len(strays) > 0
			})
			w.eventually("the reason to be told", func() bool {
				c := meta.FindStatusCondition(w.get("move").Status.Conditions, v1alpha1.ConditionRestored)
				return c != nil && c.Reason == migration.ReasonNotSteered
			})
			w.blind(false)
			m := w.phase(v1alpha1.PhaseCompleted)
			if slices.Contains(strays, string(m.Status.TargetPodUID)) {
				t.Error("the pod that was not steered is the target")
			}
			w.moved(m)
			w.clean()
		})
	}
}

// TestWayBackFails lets the second hop fail once: it is ABORTed and tried again as
// another, and the shadow is live all the time.
func TestWayBackFails(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shadowed)
	stages := 0
	w.mu.Lock()
	w.transfer["Stage"] = func() *outcome {
		if stages++; stages == 2 {
			return &outcome{"NoSpace", "disk full"}
		}
		return nil
	}
	w.mu.Unlock()
	w.start(nil)
	w.create()
	w.eventually("the shadow to be live", func() bool {
		m := w.get("move")
		return m.Status.Hop > 1 && w.stateOf(string(m.Status.SourcePodUID)) != ""
	})
	shadow := string(w.get("move").Status.SourcePodUID)
	w.eventually("the third hop", func() bool {
		m := w.get("move")
		switch state := w.stateOf(shadow); state {
		case handover.Live, handover.Paused, handover.Relaying:
		default:
			if m.Status.Hop <= 2 {
				t.Errorf("the shadow is %q in hop %d", state, m.Status.Hop)
			}
		}
		return m.Status.Hop == 3
	})
	m := w.phase(v1alpha1.PhaseCompleted)
	if len(m.Status.Hops) != 3 || m.Status.Hops[1].Result != "NoSpace" || !meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionReturned) {
		t.Errorf("hops %+v", m.Status.Hops)
	}
	if m.Status.Hops[1].SourcePodUID != m.Status.SourcePodUID {
		t.Error("the third hop has another source than the second")
	}
	w.moved(m)
	w.clean()
}

// stateOf is the state of the instance in a pod; empty: there is none.
func (w *world) stateOf(uid string) handover.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in := w.instances[uid]; in != nil {
		return in.State
	}
	return ""
}

// TestDeploymentChanges changes the Deployment while a copy of one of its pods
// replays. Whatever becomes of the migration, it ends, nothing is left, and the
// pods are those that the Deployment wants.
func TestDeploymentChanges(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  func(*world)
		pods    int
		rolled  bool
		outcome []v1alpha1.MigrationPhase
	}{
		"scaled up": {
			change: func(w *world) { w.patch(`{"spec":{"replicas":4}}`) }, pods: 4,
			outcome: []v1alpha1.MigrationPhase{v1alpha1.PhaseCompleted},
		},
		"scaled to nothing": {
			change:  func(w *world) { w.patch(`{"spec":{"replicas":0}}`) },
			outcome: []v1alpha1.MigrationPhase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed},
		},
		"rolled out": {
			change: func(w *world) { w.patch(`{"spec":{"template":{"metadata":{"annotations":{"new":"one"}}}}}`) }, pods: 3, rolled: true,
			outcome: []v1alpha1.MigrationPhase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed},
		},
		"deleted": {
			change: func(w *world) {
				w.patch(`{"metadata":{"finalizers":["test.ms2m.dev/stay"]}}`)
				w.must(kube.Delete(w.ctx, w.kind.workload(w.namespace, 0, corev1.PodTemplateSpec{}), client.PropagationPolicy(metav1.DeletePropagationForeground)))
				w.collect()
			},
			outcome: []v1alpha1.MigrationPhase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, deployment)
			w.mu.Lock()
			stuck[v1alpha1.PhaseReplaying](w)
			w.mu.Unlock()
			w.start(nil)
			w.create()
			w.phase(v1alpha1.PhaseReplaying)
			test.change(w)
			time.Sleep(300 * time.Millisecond) // while the copy is behind
			w.mu.Lock()
			for _, in := range w.instances {
				in.Behind = 0
			}
			w.mu.Unlock()
			var m *v1alpha1.StatefulMigration
			w.eventually("the end", func() bool {
				m = w.get("move")
				return len(m.Finalizers) == 0 && slices.Contains(test.outcome, m.Status.Phase)
			})
			t.Logf("%s: %+v", m.Status.Phase, meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSucceeded))
			w.eventually(fmt.Sprintf("%d pods", test.pods), func() bool {
				all := w.pods()
				ready := slices.DeleteFunc(slices.Clone(all), func(p corev1.Pod) bool {
					return p.DeletionTimestamp != nil || conditionOf(&p, corev1.PodReady) != corev1.ConditionTrue
				})
				return len(all) == test.pods && len(ready) == test.pods
			})
			for _, p := range w.pods() {
				if rolled := p.Annotations["new"] == "one"; rolled != test.rolled {
					t.Errorf("the pod %s is of the new revision: %t", p.Name, rolled)
				}
				if ref := metav1.GetControllerOf(&p); ref == nil || ref.Kind != "ReplicaSet" || p.Labels[v1alpha1.LabelMigration] != "" || p.Annotations[corev1.PodDeletionCost] != "" {
					t.Errorf("the pod %s: controller %v, labels %v, annotations %v", p.Name, ref, p.Labels, p.Annotations)
				}
				if state := w.stateOf(string(p.UID)); state != handover.Live {
					t.Errorf("the instance in %s is %s", p.Name, state)
				}
			}
			w.clean()
		})
	}
}

// collect does what the garbage collector does when a Deployment is deleted: its
// ReplicaSet goes, with all its pods, then itself.
func (w *world) collect() {
	w.t.Helper()
	none := client.GracePeriodSeconds(0)
	w.must(kube.DeleteAllOf(w.ctx, &appsv1.ReplicaSet{}, client.InNamespace(w.namespace), none))
	for _, p := range w.pods() {
		if metav1.GetControllerOf(&p) != nil {
			w.must(client.IgnoreNotFound(kube.Delete(w.ctx, &p)))
		}
	}
	w.patch(`{"metadata":{"finalizers":null}}`)
}

// blind keeps the placement from the admission of the world's namespace.
func (w *world) blind(blind bool) {
	w.t.Helper()
	ns := &corev1.Namespace{}
	w.must(kube.Get(w.ctx, client.ObjectKey{Name: w.namespace}, ns))
	metav1.SetMetaDataLabel(&ns.ObjectMeta, labelBlind, fmt.Sprint(blind))
	w.must(kube.Update(w.ctx, ns))
}

// labelBlind marks a namespace that the policy of placements leaves alone.
const labelBlind = "test.ms2m.dev/blind"

// blindfold has a binding leave such namespaces alone.
func blindfold(b *admissionv1.MutatingAdmissionPolicyBinding) {
	b.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: labelBlind, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"true"}}},
	}}
}

// TestDryRun only looks: nothing is touched, whether it could be moved or not.
func TestDryRun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  migrationChange
		outcome v1alpha1.MigrationPhase
		reason  string
	}{
		"can be moved":    {func(*v1alpha1.StatefulMigration) {}, v1alpha1.PhaseCompleted, migration.ReasonDryRun},
		"cannot be moved": {func(m *v1alpha1.StatefulMigration) { m.Spec.TargetNode.Name = nodeX }, v1alpha1.PhaseFailed, migration.ReasonInvalidSpec},
	} {
		for _, k := range []kind{standalone, deployment, shadowed, sequential} {
			t.Run(name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				w := newWorldOf(t, k)
				var effects []string
				mgr := w.start(func(e failpoint.Effect) bool {
					if e.Side == failpoint.Before {
						effects = append(effects, e.Name)
					}
					return false
				})
				w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.DryRun = true }, test.change)
				var m *v1alpha1.StatefulMigration
				w.eventually("the end", func() bool {
					m = w.get("move")
					return m.Status.Phase == test.outcome && len(m.Finalizers) == 0
				})
				mgr.end()
				if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSucceeded); c == nil || c.Reason != test.reason {
					t.Errorf("%+v", c)
				}
				for _, e := range effects {
					if !slices.Contains([]string{"update *v1alpha1.StatefulMigration", "update status", "Send HELLO", "Look", "Writable"}, e) {
						t.Errorf("it has done: %s", e)
					}
				}
				w.stayed()
				w.clean()
			})
		}
	}
}
