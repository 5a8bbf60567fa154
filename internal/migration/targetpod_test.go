package migration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// TestOwnerOnly: a copy that passes on what it is asked needs no gate, not even one that
// its source has from an earlier move.
func TestOwnerOnly(t *testing.T) {
	f := facts(v1alpha1.PhaseRestoring)
	for _, only := range []bool{false, true} {
		made, _ := migration.TargetPod(f.Object, &f.Object.Status, f.Source.Pod, "hop", only)
		again, _ := migration.TargetPod(f.Object, &f.Object.Status, made, "hop", true)
		if gated := len(made.Spec.ReadinessGates) == 1; gated == only || len(again.Spec.ReadinessGates) != 0 {
			t.Errorf("ownerOnly %t: gates %v, then %v", only, made.Spec.ReadinessGates, again.Spec.ReadinessGates)
		}
	}
}

func TestTargetPod(t *testing.T) {
	f := facts(v1alpha1.PhaseRestoring)
	src := f.Source.Pod
	src.Labels = map[string]string{"app": "counter"}
	src.Annotations = map[string]string{"note": "kept", corev1.LastAppliedConfigAnnotation: "{}"}
	src.ResourceVersion = "7"
	src.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "node-a", "disk": "ssd"}
	src.Spec.EphemeralContainers = []corev1.EphemeralContainer{{}}
	src.Spec.Volumes = []corev1.Volume{
		{Name: "kube-api-access-x1y2z", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}},
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}},
	}
	src.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
		{Name: "kube-api-access-x1y2z", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"},
		{Name: "config", MountPath: "/config"},
	}
	src.Spec.Containers[0].Env = []corev1.EnvVar{{Name: handover.EnvMigration, Value: "an earlier move"}, {Name: "A", Value: "b"}}
	before := src.DeepCopy()

	got, notes := migration.TargetPod(f.Object, &f.Object.Status, src, "hop", false)
	if diff := cmp.Diff(before, src); diff != "" {
		t.Errorf("the source was changed: %s", diff)
	}
	class := "ms2m"
	want := &corev1.Pod{Spec: corev1.PodSpec{
		RuntimeClassName: &class,
		NodeSelector:     map[string]string{"disk": "ssd"},
		ReadinessGates:   []corev1.PodReadinessGate{{ConditionType: v1alpha1.ConditionLive}},
		Volumes:          src.Spec.Volumes[1:],
		Containers: []corev1.Container{{
			Name: "main", Image: "counter", VolumeMounts: src.Spec.Containers[0].VolumeMounts[1:],
			Env: []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: handover.EnvMigration, Value: "hop"}},
		}},
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"node-b"}}},
			}}},
		}},
	}}
	want.Name, want.Namespace = got.Name, "ns"
	want.Labels = map[string]string{"app": "counter", v1alpha1.LabelMigration: uid}
	want.Annotations = map[string]string{
		"note":                       "kept",
		v1alpha1.AnnotationMigration: uid, v1alpha1.AnnotationHandover: "hop", v1alpha1.AnnotationContainer: "main",
		v1alpha1.AnnotationBaseName: "counter",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], corev1.LabelHostname) {
		t.Errorf("notes %v", notes)
	}
}

func TestPlacement(t *testing.T) {
	required := func(terms ...corev1.NodeSelectorTerm) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
		}}
	}
	in := func(key string, values ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
	}
	notSource := corev1.NodeSelectorRequirement{Key: "metadata.name", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"node-a"}}
	for name, test := range map[string]struct {
		target *v1alpha1.TargetNode
		own    *corev1.Affinity
		want   []corev1.NodeSelectorTerm
		notes  int
	}{
		"anywhere else": {want: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{notSource}}}},
		"by labels": {
			target: &v1alpha1.TargetNode{Selector: map[string]string{"zone": "b", "arch": "x"}},
			want: []corev1.NodeSelectorTerm{{
				MatchFields:      []corev1.NodeSelectorRequirement{notSource},
				MatchExpressions: []corev1.NodeSelectorRequirement{in("arch", "x"), in("zone", "b")},
			}},
		},
		"each alternative of the pod's own": {
			own: required(
				corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{in("disk", "ssd")}},
				corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{in(corev1.LabelHostname, "node-a")}},
				corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{in("metadata.name", "node-a")}},
			),
			target: &v1alpha1.TargetNode{Name: "node-b"},
			want: []corev1.NodeSelectorTerm{
				{MatchFields: []corev1.NodeSelectorRequirement{in("metadata.name", "node-b")}, MatchExpressions: []corev1.NodeSelectorRequirement{in("disk", "ssd")}},
				{MatchFields: []corev1.NodeSelectorRequirement{in("metadata.name", "node-b")}, MatchExpressions: []corev1.NodeSelectorRequirement{}},
				{MatchFields: []corev1.NodeSelectorRequirement{in("metadata.name", "node-b")}},
			},
			notes: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts(v1alpha1.PhaseRestoring)
			f.Object.Spec.TargetNode, f.Source.Pod.Spec.Affinity = test.target, test.own
			got, notes := migration.TargetPod(f.Object, &f.Object.Status, f.Source.Pod, uid, false)
			terms := got.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
			if diff := cmp.Diff(test.want, terms); diff != "" {
				t.Error(diff)
			}
			if len(notes) != test.notes {
				t.Errorf("notes %v", notes)
			}
		})
	}
}

// TestNames: whatever the pod is called and however often it is moved, the
// target's name is a DNS label that begins with the name that it had at first.
func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z]([a-z0-9-]{0,80}[a-z0-9])?`).Draw(t, "name")
		src := pod(name, sourceUID, "node-a")
		seen := map[string]bool{name: true}
		for i := range 3 {
			m := object(v1alpha1.PhaseRestoring)
			m.UID = types.UID(fmt.Sprintf("move-%d", i))
			got := migration.TargetName(m, src)
			if errs := validation.IsDNS1123Label(got); len(errs) > 0 {
				t.Fatalf("%q: %v", got, errs)
			}
			if seen[got] {
				t.Fatalf("%q again", got)
			}
			seen[got] = true
			base := name[:min(len(name), 56)]
			if !strings.HasPrefix(got, strings.TrimRight(base, "-")) {
				t.Fatalf("%q does not begin with %q", got, base)
			}
			m.Status.TargetPodName = got
			if again := migration.TargetName(m, nil); again != got {
				t.Fatalf("%q, then %q", got, again)
			}
			m.Status.CheckpointImage = &v1alpha1.CheckpointImage{}
			src, _ = migration.TargetPod(m, &m.Status, src, string(m.UID), false)
			src.UID = sourceUID
		}
	})
}
