package harness

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// placement is the policy of the chart that steers pods, and its binding.
const placement = "ms2m-placement"

// Unsteer takes the binding of the policy of placements away, and returns when the API
// server has noticed: it hears of bindings in their order, and the probe's goes after it.
func (l *Lab) Unsteer(ctx context.Context) (Undo, error) {
	binding := &admissionv1.MutatingAdmissionPolicyBinding{}
	if err := l.Client.Get(ctx, client.ObjectKey{Name: placement}, binding); err != nil {
		return nil, err
	}
	undo := l.undo(func(ctx context.Context) error {
		again := binding.DeepCopy()
		again.ObjectMeta = metav1.ObjectMeta{Name: binding.Name, Labels: binding.Labels, Annotations: binding.Annotations}
		if err := l.Client.Create(ctx, again); client.IgnoreAlreadyExists(err) != nil {
			return err
		}
		return l.steers(ctx)
	})
	for _, name := range []string{placement, probe} {
		gone := &admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := l.Client.Delete(ctx, gone); err != nil {
			return undo, err
		}
	}
	return undo, l.probed(ctx, asked)
}

// The probe is a policy with the parameters of ms2m-placement that marks pods with
// its label, which nobody creates but in a dry run.
const (
	probe = "ms2m-harness-probe"
	asked = "asked"
	seen  = "seen" // by the policy
)

// steers waits until the API server has found the kind of the placements' parameters:
// when it has just been started, or the CRD was just made, that takes up to half a
// minute, and until then StatefulSets make their pods in vain (docs/faults.md). The
// policy itself does not show it: it changes no pod but one that a migration is waiting for.
func (l *Lab) steers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rolloutTimeout, fmt.Errorf("not within %v", rolloutTimeout))
	defer cancel()
	policy := admissionac.MutatingAdmissionPolicy(probe).WithSpec(admissionac.MutatingAdmissionPolicySpec().
		WithFailurePolicy(admissionv1.Ignore).
		WithReinvocationPolicy(admissionv1.NeverReinvocationPolicy).
		WithParamKind(admissionac.ParamKind().WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("StatefulMigration")).
		WithMatchConstraints(admissionac.MatchResources().
			WithObjectSelector(metaac.LabelSelector().WithMatchExpressions(
				metaac.LabelSelectorRequirement().WithKey(probe).WithOperator(metav1.LabelSelectorOpExists))).
			WithResourceRules(admissionac.NamedRuleWithOperations().
				WithAPIGroups("").WithAPIVersions("v1").WithResources("pods").WithOperations(admissionv1.Create))).
		WithMutations(admissionac.Mutation().
			WithPatchType(admissionv1.PatchTypeJSONPatch).
			WithJSONPatch(admissionac.JSONPatch().WithExpression(`[JSONPatch{op: "replace", path: "/metadata/labels/` + probe + `", value: "` + seen + `"}]`))))
	// Without parameters of its own it is tried once for every pod.
	binding := admissionac.MutatingAdmissionPolicyBinding(probe).WithSpec(admissionac.MutatingAdmissionPolicyBindingSpec().WithPolicyName(probe))
	if err := l.Client.Apply(ctx, policy, fieldOwner); err != nil {
		return err
	}
	if err := l.Client.Apply(ctx, binding, fieldOwner); err != nil {
		return err
	}
	return l.probed(ctx, seen)
}

// probed waits until the API server makes this of the probe's mark.
func (l *Lab) probed(ctx context.Context, want string) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: probe, Namespace: metav1.NamespaceDefault, Labels: map[string]string{probe: asked}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}},
		}
		if err := l.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return fmt.Errorf("a pod that is not meant: %w", err)
		}
		if pod.Labels[probe] == want {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("the probe of the policy %s to be %s: %w", placement, want, context.Cause(ctx))
		}
	}
}
