package migration_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// governed puts the pod under a policy.
func governed(change func(*v1alpha1.MigrationPolicySpec)) change {
	return func(f *migration.Facts) {
		f.MigrationPolicy = &v1alpha1.MigrationPolicy{ObjectMeta: metav1.ObjectMeta{Name: "calm", Generation: 7}}
		change(&f.MigrationPolicy.Spec)
	}
}

func TestPolicy(t *testing.T) {
	refused := func(message string) func(*testing.T, migration.Plan) {
		return func(t *testing.T, p migration.Plan) {
			c := meta.FindStatusCondition(p.Status.Preflight, "Policy")
			if c == nil || c.Reason != migration.ReasonPolicy || !strings.Contains(c.Message, message) || !strings.Contains(c.Message, `"calm"`) {
				t.Errorf("%+v", c)
			}
			if p.Status.StartedAt != nil || p.Status.Policy == nil || p.Status.Policy.Name != "calm" || p.Status.Policy.Generation != 7 {
				t.Errorf("started %v under %+v", p.Status.StartedAt, p.Status.Policy)
			}
		}
	}
	repository := func(repository string) change {
		return func(f *migration.Facts) { f.Object.Spec.CheckpointImageRepository = repository }
	}
	run(t, v1alpha1.PhasePending, []row{
		{name: "none", action: "SetHolds", check: func(t *testing.T, p migration.Plan) {
			if s := p.Status.Settings; p.Status.Policy != nil || s == nil || s.Deadlines.ReplaySeconds == 0 || s.CheckpointImageRepository == "" {
				t.Errorf("under %+v: %+v", p.Status.Policy, s)
			}
		}},
		{name: "its defaults", change: all(repository(""), governed(func(s *v1alpha1.MigrationPolicySpec) {
			s.Defaults.CheckpointImageRepository = "policy/a"
			s.Bounds.BandwidthPerMigration = ptr.To(resource.MustParse("1Mi"))
		})), action: "SetHolds", check: func(t *testing.T, p migration.Plan) {
			if s := p.Status.Settings; s.CheckpointImageRepository != "policy/a" || s.BandwidthBytesPerSecond != 1<<20 {
				t.Errorf("%+v", s)
			}
		}},
		{name: "a strategy that it forbids", change: all(func(f *migration.Facts) { f.Object.Spec.Strategy = v1alpha1.StrategyShadow },
			governed(func(s *v1alpha1.MigrationPolicySpec) {
				s.Bounds.AllowedStrategies = []v1alpha1.Strategy{v1alpha1.StrategySequential}
			})), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonPolicy, check: refused("spec.strategy is Shadow")},
		{name: "a cut-off that it forbids", change: all(func(f *migration.Facts) { f.Object.Spec.ReplayCutoffSeconds = 60 },
			governed(func(s *v1alpha1.MigrationPolicySpec) { s.Bounds.MaxReplayCutoffSeconds = 59 })),
			action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonPolicy, check: refused("spec.replayCutoffSeconds is 60")},
		{name: "the only strategy of it is not possible", change: governed(func(s *v1alpha1.MigrationPolicySpec) {
			s.Bounds.AllowedStrategies = []v1alpha1.Strategy{v1alpha1.StrategySequential}
		}), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonPodUnsupported, check: func(t *testing.T, p migration.Plan) {
			if c := meta.FindStatusCondition(p.Status.Preflight, "Strategy"); !strings.Contains(c.Message, `the MigrationPolicy "calm" says so`) {
				t.Errorf("%+v", c)
			}
		}},
		{name: "nobody names a repository", change: all(repository(""), governed(func(*v1alpha1.MigrationPolicySpec) {})),
			action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonInvalidSpec, check: func(t *testing.T, p migration.Plan) {
				if c := meta.FindStatusCondition(p.Status.Preflight, "Repository"); !strings.Contains(c.Message, "defaults.checkpointImageRepository") {
					t.Errorf("%+v", c)
				}
			}},
		{name: "its pod goes while it queues", change: all(governed(func(s *v1alpha1.MigrationPolicySpec) { s.Defaults.TTLSecondsAfterFinished = ptr.To[int32](5) }),
			queues, func(f *migration.Facts) { f.Source.Pod, f.MigrationPolicy = nil, nil }), action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonPodNotFound,
			check: func(t *testing.T, p migration.Plan) {
				if ttl := p.Status.Settings.TTLSecondsAfterFinished; ttl == nil || *ttl != 5 || p.Status.Policy == nil {
					t.Errorf("%+v, %+v", p.Status.Policy, p.Status.Settings)
				}
			}},
		{name: "edited while it queues", change: all(queues, governed(func(s *v1alpha1.MigrationPolicySpec) { s.Bounds.MaxMigrations = 2 })),
			phase: v1alpha1.PhasePending, check: func(t *testing.T, p migration.Plan) {
				if p.Status.Settings.MaxMigrations != 2 || p.Status.Policy.Name != "calm" {
					t.Errorf("%+v, %+v", p.Status.Policy, p.Status.Settings)
				}
			}},
	})
}

// TestSettled: what was recorded when the migration began holds, whatever becomes of
// its policy, and also what the end looks at.
func TestSettled(t *testing.T) {
	begun := func(f *migration.Facts) {
		at := metav1.NewMicroTime(now)
		f.Object.Status.StartedAt = &at
		f.Object.Status.Policy = &v1alpha1.PolicyReference{Name: "calm", Generation: 7}
		f.Object.Status.Settings = &v1alpha1.Settings{
			CheckpointImageRepository: "recorded/a", BandwidthBytesPerSecond: 1 << 20,
			Deadlines: v1alpha1.Deadlines{TransferSeconds: 5}, TTLSecondsAfterFinished: ptr.To[int32](3),
		}
		governed(func(s *v1alpha1.MigrationPolicySpec) { s.Defaults.CheckpointImageRepository = "edited/a" })(f)
	}
	run(t, v1alpha1.PhaseTransferring, []row{
		{name: "the leg", change: begun, action: "CreateTransfer", check: func(t *testing.T, p migration.Plan) {
			s := p.Action.(migration.CreateTransfer).Spec
			if s.Repository != "recorded/a" || s.BytesPerSecond != 1<<20 {
				t.Errorf("%+v", s)
			}
			if p.Status.Policy.Generation != 7 || p.Status.Settings.CheckpointImageRepository != "recorded/a" {
				t.Errorf("under %+v: %+v", p.Status.Policy, p.Status.Settings)
			}
		}},
		{name: "the deadline", change: all(begun, later(6*time.Second)), action: "WriteAbort", reason: migration.ReasonDeadline},
	})
	m := &v1alpha1.StatefulMigration{}
	ended := metav1.NewMicroTime(now)
	m.Status.Phase, m.Status.EndedAt = v1alpha1.PhaseCompleted, &ended
	m.Status.Settings = &v1alpha1.Settings{TTLSecondsAfterFinished: ptr.To[int32](3)}
	if at, expires := migration.ExpiresAt(m); !expires || !at.Equal(now.Add(3*time.Second)) {
		t.Errorf("expires %t at %v", expires, at)
	}
}
