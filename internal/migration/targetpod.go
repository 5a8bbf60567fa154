package migration

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

const (
	// What the ServiceAccount admission adds to a pod, and will add to the copy.
	accessVolumePrefix = "kube-api-access-"
	accessMountPath    = "/var/run/secrets/kubernetes.io/serviceaccount"
	// What the scheduler matches against a node's name, rather than a label of it.
	nodeNameField = "metadata.name"

	noteNodeSelector = "nodeSelector " + corev1.LabelHostname
	noteAffinity     = "node affinity to names of nodes"
)

// remarks are annotations in which the kubelet's and the network's helpers have
// noted what the source got. A helper that finds such a note on a new pod may
// take it for an order, and give the copy the address that the source still has.
var remarks = []string{
	corev1.LastAppliedConfigAnnotation, // kubectl's, of the source; apply would take the copy for it
	"cni.projectcalico.org/containerID",
	"cni.projectcalico.org/podIP",
	"cni.projectcalico.org/podIPs",
	"k8s.ovn.org/pod-networks",
	"k8s.v1.cni.cncf.io/network-status",
	"k8s.v1.cni.cncf.io/networks-status",
}

// TargetPod makes the pod that takes over: the source's spec made creatable
// again, on another node, for MS2M's shim, in the hand-over of that identity.
// It has no controller: it outlives the migration, and what owns the source is
// not to see it before the hand-over. What differs from the source is listed in
// Differences. notes say what of the spec was left out because it would tie the
// copy to the source's node.
//
// With ownerOnly the copy answers as the state's owner or passes on to it: it is Ready as soon
// as its own probes say so. Otherwise a readiness gate keeps Services away until it is live.
func TargetPod(m *v1alpha1.StatefulMigration, st *v1alpha1.StatefulMigrationStatus, source *corev1.Pod, handoverID string, ownerOnly bool) (pod *corev1.Pod, notes []string) {
	pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: TargetName(m, source), GenerateName: source.GenerateName, Namespace: source.Namespace,
			Labels: maps.Clone(source.Labels), Annotations: maps.Clone(source.Annotations),
			OwnerReferences: slices.DeleteFunc(slices.Clone(source.OwnerReferences), func(r metav1.OwnerReference) bool {
				return r.Controller != nil && *r.Controller
			}),
		},
		Spec: *source.Spec.DeepCopy(),
	}
	delete(pod.Labels, corev1.LabelTopologyZone) // of the source's node; the binding gives the copy its own
	delete(pod.Labels, corev1.LabelTopologyRegion)
	if st.Owner != nil && st.Owner.Kind == string(owner.ReplicaSet) {
		delete(pod.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	}
	metav1.SetMetaDataLabel(&pod.ObjectMeta, v1alpha1.LabelMigration, string(m.UID))
	for key, value := range map[string]string{
		v1alpha1.AnnotationMigration: string(m.UID),
		v1alpha1.AnnotationHandover:  handoverID,
		v1alpha1.AnnotationContainer: st.Container,
		v1alpha1.AnnotationBaseName:  BaseName(source),
	} {
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, key, value)
	}
	for _, key := range remarks {
		delete(pod.Annotations, key)
	}

	s := &pod.Spec
	class := v1alpha1.RuntimeClassName
	s.RuntimeClassName = &class
	s.NodeName = ""
	s.EphemeralContainers = nil
	s.SchedulingGates = nil
	s.Overhead = nil // of the source's RuntimeClass; admission sets the copy's
	// A restored process has its init containers behind it.
	s.InitContainers = slices.DeleteFunc(s.InitContainers, func(c corev1.Container) bool { return !sidecar(&c) })
	live := corev1.PodReadinessGate{ConditionType: v1alpha1.ConditionLive} // of a source that was moved before
	s.ReadinessGates = slices.DeleteFunc(s.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g == live })
	if !ownerOnly {
		s.ReadinessGates = append(s.ReadinessGates, live)
	}
	dropAccessVolume(s)
	unmerge(s, pod.Labels)
	for i := range s.Containers {
		if s.Containers[i].Name == st.Container {
			setEnv(&s.Containers[i], handover.EnvMigration, handoverID)
		}
	}
	notes = place(s, m.Spec.TargetNode, st.SourceNode)
	return pod, notes
}

// unmerge takes back what the API server has made of matchLabelKeys and
// mismatchLabelKeys: requirements of the label selector beside them. It would
// add them again, and refuse a key that is in both. Of a label that the copy
// does not have it makes nothing, so such a requirement stays.
func unmerge(s *corev1.PodSpec, labels map[string]string) {
	drop := func(sel *metav1.LabelSelector, operator metav1.LabelSelectorOperator, keys []string) {
		if sel == nil {
			return
		}
		sel.MatchExpressions = slices.DeleteFunc(sel.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
			value, has := labels[r.Key]
			return has && slices.Contains(keys, r.Key) && r.Operator == operator && slices.Equal(r.Values, []string{value})
		})
	}
	term := func(t *corev1.PodAffinityTerm) {
		drop(t.LabelSelector, metav1.LabelSelectorOpIn, t.MatchLabelKeys)
		drop(t.LabelSelector, metav1.LabelSelectorOpNotIn, t.MismatchLabelKeys)
	}
	terms := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			term(&required[i])
		}
		for i := range preferred {
			term(&preferred[i].PodAffinityTerm)
		}
	}
	if s.Affinity != nil && s.Affinity.PodAffinity != nil {
		a := s.Affinity.PodAffinity
		terms(a.RequiredDuringSchedulingIgnoredDuringExecution, a.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if s.Affinity != nil && s.Affinity.PodAntiAffinity != nil {
		a := s.Affinity.PodAntiAffinity
		terms(a.RequiredDuringSchedulingIgnoredDuringExecution, a.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	for i := range s.TopologySpreadConstraints {
		c := &s.TopologySpreadConstraints[i]
		drop(c.LabelSelector, metav1.LabelSelectorOpIn, c.MatchLabelKeys)
	}
}

func dropAccessVolume(s *corev1.PodSpec) {
	injected := func(name string) bool { return strings.HasPrefix(name, accessVolumePrefix) }
	s.Volumes = slices.DeleteFunc(s.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && injected(v.Name)
	})
	drop := func(containers []corev1.Container) {
		for i := range containers {
			containers[i].VolumeMounts = slices.DeleteFunc(containers[i].VolumeMounts, func(vm corev1.VolumeMount) bool {
				return vm.MountPath == accessMountPath && injected(vm.Name)
			})
		}
	}
	drop(s.InitContainers)
	drop(s.Containers)
}

// setEnv sets a variable, in place of one that an earlier move has set.
func setEnv(c *corev1.Container, name, value string) {
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
	c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
}

// place sends the pod to the target node, or away from the source's, and keeps
// of the pod's own wishes what does not contradict that.
func place(s *corev1.PodSpec, target *v1alpha1.TargetNode, source string) (notes []string) {
	if s.NodeSelector[corev1.LabelHostname] != "" {
		delete(s.NodeSelector, corev1.LabelHostname)
		notes = append(notes, noteNodeSelector)
	}
	field := corev1.NodeSelectorRequirement{Key: nodeNameField, Operator: corev1.NodeSelectorOpNotIn, Values: []string{source}}
	var wanted []corev1.NodeSelectorRequirement
	switch {
	case target == nil:
	case target.Name != "":
		field.Operator, field.Values = corev1.NodeSelectorOpIn, []string{target.Name}
	default:
		for _, key := range slices.Sorted(maps.Keys(target.Selector)) {
			wanted = append(wanted, corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{target.Selector[key]}})
		}
	}
	if s.Affinity == nil {
		s.Affinity = &corev1.Affinity{}
	}
	if s.Affinity.NodeAffinity == nil {
		s.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	required := &s.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if *required == nil || len((*required).NodeSelectorTerms) == 0 {
		*required = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}}}
	}
	for i := range (*required).NodeSelectorTerms { // the terms are alternatives: each gets it
		term := &(*required).NodeSelectorTerms[i]
		pins := len(term.MatchFields)
		term.MatchExpressions = slices.DeleteFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			if r.Key == corev1.LabelHostname {
				pins++
				return true
			}
			return false
		})
		if pins > 0 && !slices.Contains(notes, noteAffinity) {
			notes = append(notes, noteAffinity)
		}
		term.MatchFields = []corev1.NodeSelectorRequirement{field}
		term.MatchExpressions = append(term.MatchExpressions, wanted...)
	}
	return notes
}
