package owner_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
)

func controller(apiVersion, kind, name string) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: "owner", Controller: &yes}
}

func TestOf(t *testing.T) {
	no := false
	for name, test := range map[string]struct {
		refs   []metav1.OwnerReference
		static bool
		kind   owner.Kind
		want   string // of the refusal
	}{
		"standalone":                      {kind: owner.Standalone},
		"owned, not controlled":           {refs: []metav1.OwnerReference{{APIVersion: "x.io/v1", Kind: "App", Name: "shop", Controller: &no}}, kind: owner.Standalone},
		"StatefulSet":                     {refs: []metav1.OwnerReference{controller("apps/v1", "StatefulSet", "counter")}, kind: owner.StatefulSet},
		"ReplicaSet":                      {refs: []metav1.OwnerReference{controller("apps/v1", "ReplicaSet", "counter")}, kind: owner.ReplicaSet},
		"the controller is not the first": {refs: []metav1.OwnerReference{{APIVersion: "x.io/v1", Kind: "App"}, controller("apps/v1", "ReplicaSet", "counter")}, kind: owner.ReplicaSet},
		"static":                          {static: true, refs: []metav1.OwnerReference{controller("v1", "Node", "a")}, want: "static pod"},
		"Node":                            {refs: []metav1.OwnerReference{controller("v1", "Node", "a")}, want: "part of its node"},
		"Job":                             {refs: []metav1.OwnerReference{controller("batch/v1", "Job", "sum")}, want: "let it end"},
		"DaemonSet":                       {refs: []metav1.OwnerReference{controller("apps/v1", "DaemonSet", "agent")}, want: "belongs to its node"},
		"ReplicationController":           {refs: []metav1.OwnerReference{controller("v1", "ReplicationController", "old")}, want: "Deployments"},
		"an old StatefulSet":              {refs: []metav1.OwnerReference{controller("apps/v1beta1", "StatefulSet", "old")}, want: "only apps/v1"},
		"another group's StatefulSet":     {refs: []metav1.OwnerReference{controller("apps.kruise.io/v1beta1", "StatefulSet", "x")}, want: "not known what it does"},
		"custom":                          {refs: []metav1.OwnerReference{controller("x.io/v1", "Cluster", "x")}, want: "not known what it does"},
		"nonsense":                        {refs: []metav1.OwnerReference{controller("a/b/c", "Cluster", "x")}, want: "unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "counter-0", OwnerReferences: test.refs}}
			if test.static {
				pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			}
			ref, kind, refusal := owner.Of(pod)
			if kind != test.kind || (refusal == "") != (test.want == "") || !strings.Contains(refusal, test.want) {
				t.Errorf("%q, %q; want %q, %q", kind, refusal, test.kind, test.want)
			}
			var want *v1alpha1.WorkloadReference
			if kind == owner.StatefulSet || kind == owner.ReplicaSet {
				want = &v1alpha1.WorkloadReference{APIVersion: "apps/v1", Kind: string(kind), Name: "counter", UID: "owner"}
			}
			if diff := cmp.Diff(want, ref); diff != "" {
				t.Error(diff)
			}
		})
	}
}
