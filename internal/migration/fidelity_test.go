package migration_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// fill gives every field below v a value of its own, so that one which a later
// version of Kubernetes adds is there, too.
func fill(t *testing.T, v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case resource.Quantity:
		v.Set(reflect.ValueOf(*resource.NewQuantity(int64(*n), resource.DecimalSI)))
		return
	case metav1.Time:
		v.Set(reflect.ValueOf(metav1.Unix(int64(*n), 0)))
		return
	case intstr.IntOrString:
		v.Set(reflect.ValueOf(intstr.FromInt32(int32(*n))))
		return
	case metav1.FieldsV1:
		v.Set(reflect.ValueOf(*metav1.NewFieldsV1(fmt.Sprintf(`{"f":%d}`, *n))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, n)
		fill(t, value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	default:
		t.Fatalf("a field of the kind %s: teach fill about it", v.Type())
	}
}

// full is a pod in which every field has a value, and what TargetPod looks for.
func full(t *testing.T) *corev1.Pod {
	p, n := &corev1.Pod{}, 0
	fill(t, reflect.ValueOf(&p.ObjectMeta).Elem(), &n)
	fill(t, reflect.ValueOf(&p.Spec).Elem(), &n)
	always, no := corev1.ContainerRestartPolicyAlways, false
	p.OwnerReferences[1].Controller = &no
	p.Spec.InitContainers[1].RestartPolicy = &always
	p.Spec.NodeSelector[corev1.LabelHostname] = "node-a"
	for _, key := range []string{"pod-template-hash", corev1.LabelTopologyZone, corev1.LabelTopologyRegion} {
		p.Labels[key] = "source's"
	}
	for _, d := range migration.Differences {
		if m := regexp.MustCompile(`^metadata\.annotations\[(.*)\]$`).FindStringSubmatch(d.Path); m != nil {
			p.Annotations[m[1]] = "source's"
		}
	}
	p.Annotations[v1alpha1.AnnotationStatelessContainers] = "kept"
	p.Annotations[v1alpha1.AnnotationDisposableVolumes] = "kept"
	p.Spec.Volumes[1].Name = "kube-api-access-abcde"
	for _, containers := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range containers {
			m := &containers[i].VolumeMounts[1]
			m.Name, m.MountPath = "kube-api-access-abcde", "/var/run/secrets/kubernetes.io/serviceaccount"
		}
	}
	return p
}

func moved(t *testing.T, source *corev1.Pod) *corev1.Pod {
	m := object(v1alpha1.PhaseRestoring)
	m.Status.TargetPodName = ""
	m.Status.Container = source.Spec.Containers[0].Name
	m.Status.Owner = &v1alpha1.WorkloadReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "counter"}
	m.Status.CheckpointImage = &v1alpha1.CheckpointImage{Digest: "sha256:00"}
	got, _ := migration.TargetPod(m, &m.Status, source, "hop", false)
	return got
}

// TestFidelity: a target is its source, field by field, but for the table.
func TestFidelity(t *testing.T) {
	source := full(t)
	got := moved(t, source)
	if diff := cmp.Diff([]string(nil), migration.SpecDiff(source, got)); diff != "" {
		t.Errorf("differs beyond migration.Differences: %s", diff)
	}
	// What the table says of lists is about parts of them.
	if len(got.Spec.InitContainers) != 1 || got.Spec.InitContainers[0].Name != source.Spec.InitContainers[1].Name {
		t.Errorf("init containers %v", got.Spec.InitContainers)
	}
	if len(got.OwnerReferences) != 1 || got.OwnerReferences[0].Name != source.OwnerReferences[1].Name {
		t.Errorf("owners %v", got.OwnerReferences)
	}
}

// TestSpecDiff: what is in no row is found, wherever it is.
func TestSpecDiff(t *testing.T) {
	for want, change := range map[string]func(*corev1.Pod){
		"spec.hostname":                                               func(p *corev1.Pod) { p.Spec.Hostname = "" },
		"spec.priority":                                               func(p *corev1.Pod) { *p.Spec.Priority++ },
		"spec.containers[main].image":                                 func(p *corev1.Pod) { p.Spec.Containers[0].Image = "other" },
		"spec.containers[main].env[A].value":                          func(p *corev1.Pod) { p.Spec.Containers[0].Env[0].Value = "c" },
		"spec.initContainers[side].image":                             func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "other" },
		"spec.volumes[data].persistentVolumeClaim.claimName":          func(p *corev1.Pod) { p.Spec.Volumes[1].PersistentVolumeClaim.ClaimName = "other" },
		"metadata.labels.app":                                         func(p *corev1.Pod) { delete(p.Labels, "app") },
		"metadata.ownerReferences[app].uid":                           func(p *corev1.Pod) { p.OwnerReferences[0].UID = "other" },
		"metadata.annotations[migration.ms2m.dev/disposable-volumes]": func(p *corev1.Pod) { delete(p.Annotations, v1alpha1.AnnotationDisposableVolumes) },
	} {
		t.Run(want, func(t *testing.T) {
			source := admitted()
			got := moved(t, source)
			got.Spec.Volumes = append([]corev1.Volume{{Name: "kube-api-access-zzzzz", VolumeSource: source.Spec.Volumes[0].VolumeSource}}, got.Spec.Volumes...)
			got.UID, got.Spec.NodeName = types.UID("2"), "node-b"
			if diff := migration.SpecDiff(source, got); diff != nil {
				t.Fatalf("before the change: %v", diff)
			}
			change(got)
			if diff := cmp.Diff([]string{want}, migration.SpecDiff(source, got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// admitted is a pod as an API server has it.
func admitted() *corev1.Pod {
	yes, no, priority, always := true, false, int32(7), corev1.ContainerRestartPolicyAlways
	p := with(func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "counter", UID: "1", Controller: &yes}, {Kind: "App", Name: "app", UID: "2", Controller: &no}}
		p.Annotations[v1alpha1.AnnotationDisposableVolumes] = "scratch"
		p.Spec.Hostname, p.Spec.Priority = "counter-0", &priority
		p.Spec.InitContainers = []corev1.Container{{Name: "init"}, {Name: "side", RestartPolicy: &always}}
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "b"}}
	})
	p.Spec.Volumes = []corev1.Volume{
		{Name: "kube-api-access-abcde", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}},
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
	}
	return p
}

// TestFidelityDoc: people read the same table.
func TestFidelityDoc(t *testing.T) {
	doc, err := os.ReadFile("../../docs/fidelity.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []migration.Difference
	for _, m := range regexp.MustCompile("(?m)^\\| `(.*)` \\| (.*) \\|$").FindAllSubmatch(doc, -1) {
		rows = append(rows, migration.Difference{Path: string(m[1]), Reason: string(m[2])})
	}
	if diff := cmp.Diff(migration.Differences, rows); diff != "" {
		t.Errorf("docs/fidelity.md and migration.Differences: %s", diff)
	}
}
