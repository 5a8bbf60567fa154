package migration

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
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

// TargetPod makes the pod that takes over: the source's spec made creatable
// again, on another node, for MS2M's shim. It has no owner, since it outlives
// the migration. notes say what of the spec was left out because it would tie
// the copy to the source's node.
func TargetPod(m *v1alpha1.StatefulMigration, st *v1alpha1.StatefulMigrationStatus, source *corev1.Pod) (pod *corev1.Pod, notes []string) {
	pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: TargetName(m, source), Namespace: source.Namespace,
			Labels: maps.Clone(source.Labels), Annotations: maps.Clone(source.Annotations),
		},
		Spec: *source.Spec.DeepCopy(),
	}
	metav1.SetMetaDataLabel(&pod.ObjectMeta, v1alpha1.LabelMigration, string(m.UID))
	pod.OwnerReferences = nil
	delete(pod.Labels, "pod-template-hash")
	if gate := (corev1.PodReadinessGate{ConditionType: v1alpha1.ConditionLive}); !slices.Contains(pod.Spec.ReadinessGates, gate) {
		pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, gate)
	}
	for key, value := range map[string]string{
		v1alpha1.AnnotationMigration: string(m.UID),
		v1alpha1.AnnotationHandover:  HandoverID(m),
		v1alpha1.AnnotationContainer: st.Container,
		v1alpha1.AnnotationDigest:    st.CheckpointImage.Digest,
		v1alpha1.AnnotationBaseName:  BaseName(source),
	} {
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, key, value)
	}
	delete(pod.Annotations, corev1.LastAppliedConfigAnnotation)

	s := &pod.Spec
	class := v1alpha1.RuntimeClassName
	s.RuntimeClassName = &class
	s.NodeName = ""
	s.EphemeralContainers = nil
	s.SchedulingGates = nil
	s.Overhead = nil // of the source's RuntimeClass; admission sets the copy's
	dropAccessVolume(s)
	for i := range s.Containers {
		if s.Containers[i].Name == st.Container {
			setEnv(&s.Containers[i], handover.EnvMigration, string(m.UID))
		}
	}
	notes = place(s, m.Spec.TargetNode, st.SourceNode)
	return pod, notes
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
