package policy_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/policy"
)

type set = map[string]string

func named(name string, namespace, pod set) v1alpha1.MigrationPolicy {
	return v1alpha1.MigrationPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.MigrationPolicySpec{Selectors: v1alpha1.PolicySelectors{NamespaceSelector: namespace, PodSelector: pod}},
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	pod, namespace := set{"app": "counter", "tier": "gold"}, set{"team": "shop", "env": "prod"}
	all := named("all", nil, nil)
	byTeam := named("team", set{"team": "shop"}, nil)
	byApp := named("app", nil, set{"app": "counter"})
	byBoth := named("both", set{"team": "shop"}, set{"app": "counter"})
	byPod := named("pod", nil, set{"app": "counter", "tier": "gold"})
	other := named("other", set{"team": "bank"}, set{"app": "counter", "tier": "gold"})
	going := named("going", set{"team": "shop", "env": "prod"}, pod)
	going.DeletionTimestamp = ptr.To(metav1.Now())
	for name, test := range map[string]struct {
		policies []v1alpha1.MigrationPolicy
		want     string
	}{
		"none":                                {},
		"none that selects it":                {policies: []v1alpha1.MigrationPolicy{other}},
		"the one for all":                     {policies: []v1alpha1.MigrationPolicy{other, all}, want: "all"},
		"one label beats none":                {policies: []v1alpha1.MigrationPolicy{all, byTeam}, want: "team"},
		"the pod's label beats a namespace's": {policies: []v1alpha1.MigrationPolicy{byTeam, byApp}, want: "app"},
		"two beat one":                        {policies: []v1alpha1.MigrationPolicy{byApp, byBoth, byTeam}, want: "both"},
		"two of the pod beat one of each":     {policies: []v1alpha1.MigrationPolicy{byPod, byBoth}, want: "pod"},
		"by name in the end":                  {policies: []v1alpha1.MigrationPolicy{named("b", nil, pod), named("a", nil, pod), named("c", nil, pod)}, want: "a"},
		"all of its labels are needed":        {policies: []v1alpha1.MigrationPolicy{named("x", nil, set{"app": "counter", "tier": "iron"}), all}, want: "all"},
		"one that is being deleted is none":   {policies: []v1alpha1.MigrationPolicy{going, all}, want: "all"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if p := policy.Match(pod, namespace, test.policies); p != nil {
				got = p.Name
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	migrate := named("p", nil, nil)
	migrate.Spec.Drain = v1alpha1.DrainMigrate
	for name, test := range map[string]struct {
		pod    set
		policy *v1alpha1.MigrationPolicy
		want   v1alpha1.DrainPolicy
	}{
		"nobody says it":    {},
		"the pod":           {pod: set{v1alpha1.AnnotationDrain: "Migrate"}, want: v1alpha1.DrainMigrate},
		"the policy":        {policy: &migrate, want: v1alpha1.DrainMigrate},
		"the pod before it": {pod: set{v1alpha1.AnnotationDrain: "Evict"}, policy: &migrate, want: v1alpha1.DrainEvict},
		"a word unknown":    {pod: set{v1alpha1.AnnotationDrain: "migrate"}, policy: &migrate, want: v1alpha1.DrainEvict},
	} {
		if got := policy.Drain(test.pod, test.policy); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	builtIn := policy.Resolve(&v1alpha1.StatefulMigrationSpec{}, nil)
	if want := (v1alpha1.Settings{
		Strategy: "Auto", ReplayCutoffSeconds: 120, Throttle: "WhenBehind", CheckpointRetention: "Delete", BackoffLimit: 4,
		Deadlines: v1alpha1.Deadlines{PendingSeconds: 60, CheckpointSeconds: 60, TransferSeconds: 300, RestoreSeconds: 300, ReplaySeconds: 600, FinalizeSeconds: 300},
	}); !equality.Semantic.DeepEqual(builtIn, want) {
		t.Errorf("built in: %+v", builtIn)
	}
	p := named("p", nil, nil)
	p.Spec.Defaults = v1alpha1.PolicyDefaults{
		Strategy: "Shadow", ReplayCutoffSeconds: 20, Throttle: "Never", CheckpointImageRepository: "policy/a", CheckpointRetention: "Retain",
		Deadlines:    v1alpha1.Deadlines{TotalSeconds: 1, PendingSeconds: 2, CheckpointSeconds: 3, TransferSeconds: 4, RestoreSeconds: 5, ReplaySeconds: 6, FinalizeSeconds: 7},
		BackoffLimit: ptr.To[int32](0), TTLSecondsAfterFinished: ptr.To[int32](9),
	}
	p.Spec.Bounds = v1alpha1.PolicyBounds{MaxMigrations: 3, MaxMigrationsPerNode: 1, BandwidthPerMigration: ptr.To(resource.MustParse("64Mi"))}
	want := v1alpha1.Settings{
		Strategy: "Shadow", ReplayCutoffSeconds: 20, Throttle: "Never", CheckpointImageRepository: "policy/a", CheckpointRetention: "Retain",
		Deadlines: p.Spec.Defaults.Deadlines, TTLSecondsAfterFinished: ptr.To[int32](9),
		MaxMigrations: 3, MaxMigrationsPerNode: 1, BandwidthBytesPerSecond: 64 << 20,
	}
	if got := policy.Resolve(&v1alpha1.StatefulMigrationSpec{}, &p); !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("by the policy: %+v", got)
	}
	said := v1alpha1.StatefulMigrationSpec{
		Strategy: "Auto", ReplayCutoffSeconds: 30, Throttle: "WhenBehind", CheckpointImageRepository: "said/a", CheckpointRetention: "Delete",
		Deadlines:    v1alpha1.Deadlines{TransferSeconds: 40},
		BackoffLimit: ptr.To[int32](2), TTLSecondsAfterFinished: ptr.To[int32](0),
	}
	want.Throttle = "WhenBehind"
	want.Strategy, want.ReplayCutoffSeconds, want.CheckpointImageRepository, want.CheckpointRetention = "Auto", 30, "said/a", "Delete"
	want.Deadlines.TransferSeconds, want.BackoffLimit, want.TTLSecondsAfterFinished = 40, 2, ptr.To[int32](0)
	if got := policy.Resolve(&said, &p); !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("said: %+v", got)
	}
	bounded := named("p", nil, nil)
	bounded.Spec.Bounds = v1alpha1.PolicyBounds{MaxReplayCutoffSeconds: 10, AllowedStrategies: []v1alpha1.Strategy{"Sequential"}}
	got := policy.Resolve(&v1alpha1.StatefulMigrationSpec{Strategy: "Auto"}, &bounded)
	if got.ReplayCutoffSeconds != 10 || got.Strategy != "Sequential" {
		t.Errorf("what is built in goes beyond the bounds: %d, %s", got.ReplayCutoffSeconds, got.Strategy)
	}
	if why := policy.Forbids(got, &bounded); why != "" {
		t.Errorf("what nobody asked for is refused: %s", why)
	}
}

func TestForbids(t *testing.T) {
	t.Parallel()
	p := named("calm", nil, nil)
	p.Spec.Bounds = v1alpha1.PolicyBounds{AllowedStrategies: []v1alpha1.Strategy{"Shadow"}, MaxReplayCutoffSeconds: 10}
	for name, test := range map[string]struct {
		settings v1alpha1.Settings
		policy   *v1alpha1.MigrationPolicy
		want     []string
	}{
		"without a policy": {settings: v1alpha1.Settings{Strategy: "Sequential", ReplayCutoffSeconds: 1000}},
		"within":           {settings: v1alpha1.Settings{Strategy: "Shadow", ReplayCutoffSeconds: 10}, policy: &p},
		"Auto is not yet":  {settings: v1alpha1.Settings{Strategy: "Auto", ReplayCutoffSeconds: 10}, policy: &p},
		"strategy": {settings: v1alpha1.Settings{Strategy: "Sequential", ReplayCutoffSeconds: 10}, policy: &p,
			want: []string{"strategy is Sequential", `"calm"`, "allows Shadow", "bounds.allowedStrategies"}},
		"cut-off": {settings: v1alpha1.Settings{Strategy: "Shadow", ReplayCutoffSeconds: 11}, policy: &p,
			want: []string{"replayCutoffSeconds is 11", `"calm"`, "10 at most", "bounds.maxReplayCutoffSeconds"}},
	} {
		got := policy.Forbids(test.settings, test.policy)
		if (got == "") != (test.want == nil) {
			t.Errorf("%s: %q", name, got)
		}
		for _, part := range test.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q, want %q in it", name, got, part)
			}
		}
	}
}
