package integration

import (
	"context"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestParametersUnknown: an API server that can't find the kind of the placement's
// parameters, as in the first half minute after its start, lets pods be created all the same.
//
// The policy is the chart's, asking for a kind that there is not. A twin of it that forbids
// shows when the API server has come to know of both; it sees the pods of one namespace alone.
func TestParametersUnknown(t *testing.T) {
	t.Parallel()
	ours, forbids := newWorld(t), newWorld(t)
	for _, w := range []*world{ours, forbids} { // in this order: who knows the twin knows the policy
		policy, binding := &admissionv1.MutatingAdmissionPolicy{}, &admissionv1.MutatingAdmissionPolicyBinding{}
		w.must(kube.Get(w.ctx, client.ObjectKey{Name: "ms2m-placement"}, policy))
		w.must(kube.Get(w.ctx, client.ObjectKey{Name: "ms2m-placement"}, binding))
		policy.ObjectMeta = metav1.ObjectMeta{Name: w.namespace}
		policy.Spec.ParamKind.Kind = "Unheard"
		policy.Spec.MatchConstraints.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}}
		if w == forbids {
			policy.Spec.FailurePolicy = ptr.To(admissionv1.Fail)
		}
		binding.ObjectMeta = metav1.ObjectMeta{Name: w.namespace}
		binding.Spec.PolicyName, binding.Spec.MatchResources = policy.Name, nil
		for _, o := range []client.Object{policy, binding} {
			w.must(kube.Create(w.ctx, o))
			t.Cleanup(func() { w.must(client.IgnoreNotFound(kube.Delete(context.Background(), o))) })
		}
	}
	create := func(w *world) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "any", Namespace: w.namespace}, Spec: podSpec()}
		return kube.Create(w.ctx, pod, client.DryRunAll)
	}
	forbids.eventually("the twin to forbid a pod", func() bool {
		err := create(forbids)
		return err != nil && strings.Contains(err.Error(), "Unheard")
	})
	ours.must(create(ours))
}
