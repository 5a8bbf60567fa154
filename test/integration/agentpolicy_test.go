package integration

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/agent"
)

// TestAgentAndPods: an agent says on its own pod what its node is, and can change
// nothing else of it and nothing of others.
func TestAgentAndPods(t *testing.T) {
	if err := apply(t.Context(), "ms2m-nodes", "ms2m-node-agent", "ms2m-node-agent-pod"); err != nil {
		t.Fatal(err)
	}
	pods := map[string]*corev1.Pod{}
	for _, name := range []string{"agent-1", "agent-2"} {
		pods[name] = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ms2m-nodes", Name: name, Annotations: map[string]string{"other": "stays"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "agent"}}},
		}
		if err := kube.Create(t.Context(), pods[name]); err != nil {
			t.Fatal(err)
		}
	}
	as := rest.CopyConfig(cfg)
	as.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:ms2m-nodes:ms2m-node-agent",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:ms2m-nodes", "system:authenticated"},
		Extra:    map[string][]string{"authentication.kubernetes.io/pod-uid": {string(pods["agent-1"].UID)}},
	}
	c, err := client.New(as, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	own, other := agent.OwnPod{Client: c, Namespace: "ms2m-nodes", Name: "agent-1"}, agent.OwnPod{Client: c, Namespace: "ms2m-nodes", Name: "agent-2"}
	// The API server takes note of role and policy in a while.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := own.Annotate(t.Context(), v1alpha1.AnnotationNodeFacts, `{"kernel":"6"}`)
		if err == nil && apierrors.IsForbidden(other.Annotate(t.Context(), v1alpha1.AnnotationNodeFacts, "{}")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("its own pod: %v, or the policy does not count", err)
		}
	}
	if err := own.Annotate(t.Context(), v1alpha1.AnnotationNodeFacts, `{"kernel":"7"}`); err != nil {
		t.Errorf("again: %v", err)
	}
	for what, patch := range map[string]string{
		"another annotation":   `{"metadata":{"annotations":{"more":"x"}}}`,
		"an annotation less":   `{"metadata":{"annotations":{"other":null}}}`,
		"an annotation's text": `{"metadata":{"annotations":{"other":"x"}}}`,
		"a label":              `{"metadata":{"labels":{"app":"x"}}}`,
		"a finalizer":          `{"metadata":{"finalizers":["x.example.com/y"]}}`,
		"the image":            `{"spec":{"containers":[{"name":"agent","image":"mine"}]}}`,
	} {
		err := c.Patch(t.Context(), pods["agent-1"].DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	got := &corev1.Pod{}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(pods["agent-1"]), got); err != nil || got.Annotations[v1alpha1.AnnotationNodeFacts] != `{"kernel":"7"}` || got.Annotations["other"] != "stays" {
		t.Errorf("%v, %v", got.Annotations, err)
	}
}
