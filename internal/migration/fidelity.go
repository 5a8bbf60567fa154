package migration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Difference is where a target pod may differ from its source, and why.
type Difference struct {
	Path   string // with everything below it; * stands for any key
	Reason string
}

// What these two stand for is part of a list only.
const (
	endedInit     = "spec.initContainers[*]"
	controllerRef = "metadata.ownerReferences[*]"
)

// Differences are all that there are: docs/fidelity.md. A target that differs
// elsewhere is not the pod that was moved.
var Differences = []Difference{
	{"metadata.name", "a copy has a name of its own, as both pods exist at the same time; a recreated ordinal has the old one"},
	{"metadata.uid", "given by the API server"},
	{"metadata.resourceVersion", "given by the API server"},
	{"metadata.generation", "given by the API server"},
	{"metadata.selfLink", "given by the API server"},
	{"metadata.creationTimestamp", "given by the API server"},
	{"metadata.deletionTimestamp", "the source's end"},
	{"metadata.deletionGracePeriodSeconds", "the source's end"},
	{"metadata.managedFields", "kept by the API server"},
	{"metadata.finalizers", "whoever put one on the source puts it on the copy, too; one that nobody knows of would keep the copy for ever"},
	{controllerRef, "the controller's reference: a copy gets it at the hand-over, so that the ReplicaSet does not see it before. Other owners are kept"},
	{"metadata.labels[pod-template-hash]", "a copy of a ReplicaSet's pod gets it at the hand-over, so that the ReplicaSet does not see it before"},
	{"metadata.labels[topology.kubernetes.io/zone]", "of the pod's node, set when it is bound"},
	{"metadata.labels[topology.kubernetes.io/region]", "of the pod's node, set when it is bound"},
	{"metadata.labels[migration.ms2m.dev/migration-uid]", "marks what belongs to the migration"},
	{"metadata.annotations[migration.ms2m.dev/migration]", "tells the shim what to restore"},
	{"metadata.annotations[migration.ms2m.dev/container]", "tells the shim what to restore"},
	{"metadata.annotations[migration.ms2m.dev/handover]", "tells the hop that the pod was made for"},
	{"metadata.annotations[migration.ms2m.dev/base-name]", "keeps names from growing from move to move"},
	{"metadata.annotations[controller.kubernetes.io/pod-deletion-cost]", "if the ReplicaSet has other pods the source's is set to the lowest at the hand-over, so that it removes that one; the copy's is what the source's was"},
	{"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", "of the source; kubectl apply would take the copy for it"},
	{"metadata.annotations[cni.projectcalico.org/containerID]", "a note of the network on the source"},
	{"metadata.annotations[cni.projectcalico.org/podIP]", "a note of the network on the source"},
	{"metadata.annotations[cni.projectcalico.org/podIPs]", "a note of the network on the source"},
	{"metadata.annotations[k8s.ovn.org/pod-networks]", "a note of the network on the source"},
	{"metadata.annotations[k8s.v1.cni.cncf.io/network-status]", "a note of the network on the source"},
	{"metadata.annotations[k8s.v1.cni.cncf.io/networks-status]", "a note of the network on the source"},
	{"spec.nodeName", "it is another node"},
	{"spec.nodeSelector[kubernetes.io/hostname]", "would tie the copy to the source's node; sends a recreated ordinal to its own"},
	{"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution", "sends the copy to the target node; what contradicts that is left out, the rest is kept"},
	{"spec.runtimeClassName", "the shim restores the container"},
	{"spec.overhead", "of the RuntimeClass, set by admission"},
	{"spec.schedulingGates", "those of the source are gone"},
	{"spec.readinessGates[migration.ms2m.dev/live]", "keeps Services from the copy until it owns the state; not there if the service answers as the owner only (`sdk.Config.OwnerOnly`)"},
	{endedInit, "have ended: a restored process has them behind it. Sidecars are kept"},
	{"spec.ephemeralContainers", "belong to a debugging session; they cannot be given to a new pod"},
	{"spec.containers[*].env[MS2M_MIGRATION]", "tells the library of the hand-over"},
	{"spec.volumes[kube-api-access-*]", "the ServiceAccount's token: admission adds a new one under a new name"},
	{"spec.containers[*].volumeMounts[/var/run/secrets/kubernetes.io/serviceaccount]", "the ServiceAccount's token: admission adds a new one under a new name"},
	{"spec.initContainers[*].volumeMounts[/var/run/secrets/kubernetes.io/serviceaccount]", "the ServiceAccount's token: admission adds a new one under a new name"},
}

// SpecDiff lists where the metadata and spec of two pods differ and must not.
// It takes pods as they are made as well as pods of an API server, which has set
// defaults and injected the ServiceAccount's token.
func SpecDiff(source, target *corev1.Pod) (paths []string) {
	for _, path := range differing(source, target) {
		if reason(source, path) == "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// reason is why pods may differ there, or nothing.
func reason(source *corev1.Pod, path string) string {
	for _, d := range Differences {
		if covers(d.Path, path) && !kept(source, d.Path, path) {
			return d.Reason
		}
	}
	return ""
}

func covers(pattern, path string) bool {
	before, after, star := strings.Cut(pattern, "*")
	rest, ok := strings.CutPrefix(path, before)
	switch {
	case !ok:
		return false
	case !star:
		return rest == "" || rest[0] == '.' || rest[0] == '['
	}
	end := strings.IndexAny(rest, "[]")
	return end >= 0 && covers(after, rest[end:])
}

// kept reports whether a path is of the part of a list that the target has, too.
func kept(source *corev1.Pod, pattern, path string) bool {
	switch pattern {
	case endedInit:
		return slices.ContainsFunc(source.Spec.InitContainers, func(c corev1.Container) bool {
			return sidecar(&c) && covers("spec.initContainers["+c.Name+"]", path)
		})
	case controllerRef:
		return slices.ContainsFunc(source.OwnerReferences, func(r metav1.OwnerReference) bool {
			return (r.Controller == nil || !*r.Controller) && covers("metadata.ownerReferences["+r.Name+"]", path)
		})
	}
	return false
}

// differing are the paths of all values that are in one of the pods only, or
// another there.
func differing(source, target *corev1.Pod) (paths []string) {
	a, b := leaves(source), leaves(target)
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if va, ok := a[path]; !ok || va != b[path] {
			paths = append(paths, path)
		}
	}
	return paths
}

// leaves are the values of a pod by their paths, as JSON has them: what is empty
// is not there, and a field that a later version adds is.
func leaves(pod *corev1.Pod) map[string]string {
	pod = &corev1.Pod{ObjectMeta: *pod.ObjectMeta.DeepCopy(), Spec: *pod.Spec.DeepCopy()}
	sameAccessName(&pod.Spec)
	var tree map[string]any
	if raw, err := json.Marshal(pod); err != nil || json.Unmarshal(raw, &tree) != nil {
		panic(fmt.Sprintf("a pod that is no JSON: %v", err)) // it has come as JSON
	}
	into := map[string]string{}
	flatten("metadata", tree["metadata"], into)
	flatten("spec", tree["spec"], into)
	return into
}

// sameAccessName gives the token's volume the same name in every pod.
func sameAccessName(s *corev1.PodSpec) {
	same := func(name *string) {
		if strings.HasPrefix(*name, accessVolumePrefix) {
			*name = accessVolumePrefix
		}
	}
	for i := range s.Volumes {
		same(&s.Volumes[i].Name)
	}
	for _, containers := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			for j := range containers[i].VolumeMounts {
				same(&containers[i].VolumeMounts[j].Name)
			}
		}
	}
}

func flatten(path string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if strings.ContainsAny(key, "./-") {
				flatten(path+"["+key+"]", value, into)
			} else {
				flatten(path+"."+key, value, into)
			}
		}
	case []any:
		key := keyOf(v)
		for i, value := range v {
			if key == "" {
				flatten(fmt.Sprintf("%s[%d]", path, i), value, into)
			} else {
				flatten(fmt.Sprintf("%s[%s]", path, value.(map[string]any)[key]), value, into)
			}
		}
	default:
		into[path] = fmt.Sprint(v)
	}
}

// keyOf is the field by which the elements of a list are told apart, if there is
// one: then one that is missing does not shift the others.
func keyOf(list []any) string {
	for _, key := range []string{"mountPath", "conditionType", "name"} {
		seen := map[string]bool{}
		for _, e := range list {
			m, _ := e.(map[string]any)
			if s, ok := m[key].(string); ok {
				seen[s] = true
			}
		}
		if len(seen) == len(list) {
			return key
		}
	}
	return ""
}
