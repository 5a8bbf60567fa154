package cli

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// onNode is a running pod of MS2M.
func onNode(name string, change ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "counter"},
			Annotations: map[string]string{v1alpha1.AnnotationQueueName: name},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func budget(name string, allowed int32) policyv1.PodDisruptionBudget {
	return policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "counter"}}},
		Status:     policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed},
	}
}

// TestPlan holds what is said of the pods of a node before it is emptied: whom the node
// owns is passed over, whom MS2M does not move is named, and each of the others goes or
// has a reason.
func TestPlan(t *testing.T) {
	stateless := onNode("web", func(p *corev1.Pod) { p.Annotations = nil; p.Labels["app"] = "web" })
	pods := []corev1.Pod{
		onNode("counter-0"), onNode("counter-1"), onNode("counter-2"), onNode("moving"), stateless,
		onNode("daemon", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Controller: ptr.To(true)}}
		}),
		onNode("static", func(p *corev1.Pod) { p.Annotations[corev1.MirrorPodAnnotationKey] = "x" }),
		onNode("done", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		onNode("going", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }),
		onNode("coming"),
	}
	under := *fixture(t, "replaying")
	under.Name, under.Spec.SourcePod.Name = "move-it", "moving"
	under.Status.TargetPodUID = "coming"
	dry := under
	dry.Spec.DryRun, dry.Spec.SourcePod.Name = true, "counter-0"
	p := newPlan("node-a", pods, labels.Everything(), []migration{dry, under})
	budgets := []policyv1.PodDisruptionBudget{budget("other", 1), budget("tight", 0)}
	for _, r := range p.errands {
		done := fixture(t, "completed")
		switch r.pod.Name {
		case "counter-1":
			r.ask = done
			done.Status.Strategy = v1alpha1.StrategySequential
			r.judge(done, nil, budgets)
		case "counter-2":
			r.ask = done
			r.judge(fixture(t, "failed"), nil, budgets)
		case "counter-0":
			r.ask = done
			r.judge(done, nil, budgets)
		}
	}
	var b strings.Builder
	p.write(&b)
	golden(t, "plan.txt", b.String())
	if got := len(p.stay()); got != 1 {
		t.Errorf("%d stay, want 1", got)
	}
	if got := newPlan("node-a", pods, labels.SelectorFromSet(labels.Set{"app": "web"}), nil); len(got.errands) != 0 || len(got.rest) != 1 {
		t.Errorf("by labels: %d and %d", len(got.errands), len(got.rest))
	}
}

func TestGuards(t *testing.T) {
	pod := onNode("counter-0")
	behind := budget("behind", 1)
	behind.Generation = 2
	elsewhere := budget("elsewhere", 0)
	elsewhere.Namespace = "other"
	of := func(s v1alpha1.Strategy, b ...policyv1.PodDisruptionBudget) []policyv1.PodDisruptionBudget {
		return guardsOf(&pod, s, b)
	}
	if g := of(v1alpha1.StrategyShadow, budget("tight", 0)); len(g) != 0 {
		t.Errorf("a Shadow migration is guarded by %s", g[0].Name)
	}
	if g := of(v1alpha1.StrategySequential, elsewhere); len(g) != 0 {
		t.Error("a budget of another namespace guards it")
	}
	if g := of(v1alpha1.StrategySequential, behind); len(g) != 1 || allows(&g[0]) {
		t.Error("a budget whose status is behind allows it")
	}
	if b := budget("open", 1); !allows(&b) {
		t.Error("a budget that allows a disruption does not")
	}
}

func TestOverrides(t *testing.T) {
	for want, a := range map[string]asked{
		"--strategy":      {strategy: "Teleport"},
		"--cutoff":        {cutoff: 1500e6},
		"--selector":      {selector: "zone in (a)"},
		"--broker-secret": {brokerSecret: "rabbit/"},
	} {
		if _, err := a.overrides(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want it to name %s", a, err, want)
		}
	}
	a := asked{strategy: "Shadow", cutoff: 30e9, selector: "zone=b", brokerSecret: "rabbit", queue: "orders", repository: "r/a", name: "mine"}
	o, err := a.overrides()
	if err != nil {
		t.Fatal(err)
	}
	s := o.Spec
	if o.Name != "mine" || s.ReplayCutoffSeconds != 30 || s.TargetNode.Selector["zone"] != "b" || s.MessageQueueConfig.QueueName != "orders" ||
		*s.MessageQueueConfig.BrokerURLSecretRef != (v1alpha1.SecretKeyReference{Name: "rabbit", Key: "url"}) {
		t.Errorf("%+v", o)
	}
}

// TestPreflightView: a preflight tells what to do of every check that fails.
func TestPreflightView(t *testing.T) {
	var b strings.Builder
	writePreflight(&b, fixture(t, "failed"))
	golden(t, "preflight.txt", b.String())
}
