package integration

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// policy makes a policy for the test's namespace alone.
func (w *world) policy(change func(*v1alpha1.MigrationPolicySpec)) *v1alpha1.MigrationPolicy {
	w.t.Helper()
	p := &v1alpha1.MigrationPolicy{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	p.Spec.Selectors.NamespaceSelector = map[string]string{corev1.LabelMetadataName: w.namespace}
	change(&p.Spec)
	w.must(kube.Create(w.ctx, p))
	w.t.Cleanup(func() { w.must(client.IgnoreNotFound(kube.Delete(context.Background(), p))) })
	return p
}

// TestPolicy moves a pod under a policy that is edited, and then deleted, on the way:
// what it said when the migration began holds to the end.
func TestPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.policy(func(s *v1alpha1.MigrationPolicySpec) {
		s.Defaults.CheckpointImageRepository = "registry.example.com/policy"
		s.Defaults.BackoffLimit = ptr.To[int32](1)
		s.Bounds = v1alpha1.PolicyBounds{
			AllowedStrategies: []v1alpha1.Strategy{v1alpha1.StrategyShadow}, BandwidthPerMigration: ptr.To(resource.MustParse("1Mi")),
		}
	})
	w.mu.Lock()
	stuck[v1alpha1.PhaseReplaying](w)
	w.mu.Unlock()
	w.start(nil)
	w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.CheckpointImageRepository = "" })
	m := w.phase(v1alpha1.PhaseReplaying)
	before := m.Status.Settings
	if m.Status.Policy == nil || m.Status.Policy.Name != p.Name || before == nil || before.Strategy != v1alpha1.StrategyShadow ||
		before.BandwidthBytesPerSecond != 1<<20 || before.BackoffLimit != 1 || !strings.HasPrefix(m.Status.CheckpointImage.Reference, "registry.example.com/policy@") {
		t.Fatalf("under %+v: %+v, image %+v", m.Status.Policy, before, m.Status.CheckpointImage)
	}
	p.Spec.Defaults.BackoffLimit = ptr.To[int32](9)
	p.Spec.Bounds.AllowedStrategies = []v1alpha1.Strategy{v1alpha1.StrategySequential}
	w.must(kube.Update(w.ctx, p))
	w.must(kube.Delete(w.ctx, p))
	w.mu.Lock()
	for _, in := range w.instances {
		in.Behind = 0
	}
	w.mu.Unlock()
	m = w.phase(v1alpha1.PhaseCompleted)
	if m.Status.Policy == nil || m.Status.Policy.Generation != 1 || m.Status.Settings.BackoffLimit != 1 {
		t.Errorf("under %+v: %+v", m.Status.Policy, m.Status.Settings)
	}
}

// TestPolicyForbids asks for what the pod's policy does not allow: refused before
// anything is touched.
func TestPolicyForbids(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(func(s *v1alpha1.MigrationPolicySpec) { s.Bounds.MaxReplayCutoffSeconds = 10 })
	before := w.inventory("")
	w.start(nil)
	w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.ReplayCutoffSeconds = 11 })
	m := w.phase(v1alpha1.PhaseFailed)
	c := meta.FindStatusCondition(m.Status.Preflight, "Policy")
	if c == nil || c.Reason != "PolicyForbids" || !strings.Contains(c.Message, "spec.replayCutoffSeconds is 11") {
		t.Errorf("%+v", c)
	}
	if after := w.inventory(""); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// TestPolicyValidation gives policies that contradict themselves to the API server.
func TestPolicyValidation(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  func(*v1alpha1.MigrationPolicySpec)
		message string // empty: accepted
	}{
		"for all": {change: func(*v1alpha1.MigrationPolicySpec) {}},
		"a bound and no default": {change: func(s *v1alpha1.MigrationPolicySpec) {
			s.Bounds = v1alpha1.PolicyBounds{MaxReplayCutoffSeconds: 5, BandwidthPerMigration: ptr.To(resource.MustParse("64Mi"))}
		}},
		"a strategy unknown": {change: func(s *v1alpha1.MigrationPolicySpec) { s.Bounds.AllowedStrategies = []v1alpha1.Strategy{"Magic"} }, message: "spec.bounds.allowedStrategies"},
		"Auto is none":       {change: func(s *v1alpha1.MigrationPolicySpec) { s.Bounds.AllowedStrategies = []v1alpha1.Strategy{"Auto"} }, message: "spec.bounds.allowedStrategies"},
		"a default beyond the bound": {change: func(s *v1alpha1.MigrationPolicySpec) {
			s.Bounds.MaxReplayCutoffSeconds, s.Defaults.ReplayCutoffSeconds = 5, 6
		}, message: "spec.defaults.replayCutoffSeconds"},
		"a strategy that is not allowed": {change: func(s *v1alpha1.MigrationPolicySpec) {
			s.Bounds.AllowedStrategies, s.Defaults.Strategy = []v1alpha1.Strategy{"Shadow"}, "Sequential"
		}, message: "spec.defaults.strategy"},
		"Auto is always": {change: func(s *v1alpha1.MigrationPolicySpec) {
			s.Bounds.AllowedStrategies, s.Defaults.Strategy = []v1alpha1.Strategy{"Shadow"}, "Auto"
		}},
		"no bandwidth to speak of": {change: func(s *v1alpha1.MigrationPolicySpec) {
			s.Bounds.BandwidthPerMigration = ptr.To(resource.MustParse("10"))
		}, message: "spec.bounds.bandwidthPerMigration"},
		"a repository with a tag": {change: func(s *v1alpha1.MigrationPolicySpec) { s.Defaults.CheckpointImageRepository = "registry/a:b" }, message: "spec.defaults.checkpointImageRepository"},
		"a drain unknown":         {change: func(s *v1alpha1.MigrationPolicySpec) { s.Drain = "migrate" }, message: "spec.drain"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &v1alpha1.MigrationPolicy{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}}
			test.change(&p.Spec)
			err := kube.Create(t.Context(), p, client.DryRunAll)
			if (err == nil) != (test.message == "") || err != nil && !strings.Contains(err.Error(), test.message) {
				t.Errorf("%v, want %q in it", err, test.message)
			}
		})
	}
}
