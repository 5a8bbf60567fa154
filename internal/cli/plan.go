package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// errand is a pod of a node that is to be emptied.
type errand struct {
	pod      *corev1.Pod
	ask      *migration                     // that is to be made; nil: it can't go, or need not
	under    *migration                     // that moves it already
	strategy v1alpha1.Strategy              // that the preflight came to
	guards   []policyv1.PodDisruptionBudget // that a gap needs the leave of
	why      string                         // it can't go
}

// goes reports whether the pod is to be moved, or is under way.
func (r *errand) goes() bool { return r.why == "" && (r.ask != nil || r.under != nil) }

func (r *errand) name() string { return r.pod.Namespace + "/" + r.pod.Name }

// fate is what becomes of a pod when its node is emptied.
type fate int

const (
	ignored fate = iota // it belongs to the node, or has ended, or is being deleted
	drained             // MS2M does not move it: kubectl drain does
	moved               // MS2M moves it, if it can
)

// ours are annotations that say that a pod is one that MS2M moves.
var ours = []string{v1alpha1.AnnotationQueueName, v1alpha1.AnnotationBrokerURLSecret, v1alpha1.AnnotationRepository}

// fateOf tells pods apart, as kubectl drain does.
func fateOf(pod *corev1.Pod) fate {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	owner := metav1.GetControllerOf(pod)
	switch {
	case mirror, owner != nil && owner.Kind == "DaemonSet", pod.DeletionTimestamp != nil,
		pod.Status.Phase == corev1.PodSucceeded, pod.Status.Phase == corev1.PodFailed:
		return ignored
	case slices.ContainsFunc(ours, func(a string) bool { return pod.Annotations[a] != "" }):
		return moved
	}
	return drained
}

// guardsOf are the budgets that the gap of a Sequential migration needs the leave of: the
// pod goes before its copy comes. In a Shadow migration somebody always answers.
func guardsOf(pod *corev1.Pod, strategy v1alpha1.Strategy, budgets []policyv1.PodDisruptionBudget) []policyv1.PodDisruptionBudget {
	if strategy != v1alpha1.StrategySequential {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(budgets), func(b policyv1.PodDisruptionBudget) bool {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		return err != nil || b.Namespace != pod.Namespace || !selector.Matches(labels.Set(pod.Labels))
	})
}

// allows reports whether a budget lets a pod go now; like the eviction API, it does not
// trust a status that is behind.
func allows(b *policyv1.PodDisruptionBudget) bool {
	return b.Status.DisruptionsAllowed > 0 && b.Status.ObservedGeneration >= b.Generation
}

// judge takes the result of a preflight over.
func (r *errand) judge(m *migration, err error, budgets []policyv1.PodDisruptionBudget) {
	switch {
	case err != nil:
		r.why = err.Error()
	case m.Status.Phase != v1alpha1.PhaseCompleted:
		reason, message := outcome(m)
		r.why = printable(reason + ": " + message)
		if what := remedy(reason); what != "" {
			r.why += " (" + what + ")"
		}
	default:
		r.strategy = m.Status.Strategy
		r.guards = guardsOf(r.pod, r.strategy, budgets)
	}
}

// plan is what becomes of the pods of a node.
type plan struct {
	node    string
	errands []*errand
	rest    []corev1.Pod // that MS2M does not move
}

func (p *plan) stay() []*errand {
	return slices.DeleteFunc(slices.Clone(p.errands), func(r *errand) bool { return r.why == "" })
}

// write says, before it begins, what goes and what can't.
func (p *plan) write(w io.Writer) {
	if len(p.errands) > 0 {
		t := table(w)
		row(t, "POD", "STRATEGY", "GOES", "WHY")
		for _, r := range p.errands {
			goes, why := "yes", ""
			switch {
			case r.why != "":
				goes, why = "NO", r.why
			case r.under != nil:
				why = fmt.Sprintf("on its way: migration %q (%s)", r.under.Name, phase(r.under))
			case len(r.guards) > 0:
				why = "one at a time, " + r.leave()
			}
			row(t, r.name(), string(r.strategy), goes, why)
		}
		_ = t.Flush()
	}
	if len(p.rest) > 0 {
		fmt.Fprintf(w, "Not moved by MS2M, for kubectl drain (%d): %s\n", len(p.rest), names(p.rest))
	}
	if len(p.errands) == 0 {
		fmt.Fprintf(w, "There is no pod on %s that MS2M moves (none has the annotation %s).\n", p.node, v1alpha1.AnnotationQueueName)
	}
}

// leave says what the budgets say of a gap.
func (r *errand) leave() string {
	for i := range r.guards {
		if !allows(&r.guards[i]) {
			return fmt.Sprintf("when the PodDisruptionBudget %q allows a gap, which it does not now", r.guards[i].Name)
		}
	}
	return fmt.Sprintf("as the PodDisruptionBudget %q allows", r.guards[0].Name)
}

// names of pods, not too many.
func names(pods []corev1.Pod) string {
	const most = 10
	out := make([]string, 0, most+1)
	for i := range pods {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(pods)-most))
			break
		}
		out = append(out, pods[i].Namespace+"/"+pods[i].Name)
	}
	return strings.Join(out, ", ")
}

// newPlan tells the pods of a node apart. What MS2M moves has to be asked for yet.
func newPlan(node string, all []corev1.Pod, chosen labels.Selector, migrations []migration) *plan {
	p := &plan{node: node}
	for i := range all {
		pod := &all[i]
		if !chosen.Matches(labels.Set(pod.Labels)) {
			continue
		}
		m := moving(migrations, pod)
		if m != nil && m.Status.TargetPodUID == pod.UID {
			continue // it is just coming: it is on its way to this node
		}
		switch f := fateOf(pod); {
		case f == ignored:
		case f == moved || m != nil:
			p.errands = append(p.errands, &errand{pod: pod, under: m})
		default:
			p.rest = append(p.rest, *pod)
		}
	}
	slices.SortFunc(p.errands, func(a, b *errand) int { return cmp.Compare(a.name(), b.name()) })
	return p
}
