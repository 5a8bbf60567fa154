package owner_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/internal/owner"
)

func TestRefusal(t *testing.T) {
	controlled, owned := true, false
	for name, test := range map[string]struct {
		meta metav1.ObjectMeta
		want string // empty: not refused
	}{
		"standalone": {},
		"static":     {metav1.ObjectMeta{Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}}, "static"},
		"StatefulSet": {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
			{Kind: "StatefulSet", Name: "counter", Controller: &controlled},
		}}, `StatefulSet "counter"`},
		// Somebody's, for the garbage collector, but nobody makes it again.
		"owned, not controlled": {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
			{Kind: "App", Name: "shop", Controller: &owned},
		}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := owner.Refusal(&corev1.Pod{ObjectMeta: test.meta})
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
