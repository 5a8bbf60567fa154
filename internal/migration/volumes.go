package migration

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Claim is what is known of a PersistentVolumeClaim of the pod.
type Claim struct {
	Name         string
	Bound        bool
	AccessModes  []corev1.PersistentVolumeAccessMode
	Going        string               // why it does not outlive the pod, or nothing
	NodeLocal    string               // why no other node has it, or nothing
	NodeAffinity *corev1.NodeSelector // of the volume: nil is every node
}

// ClaimOf takes the facts of a claim and the volume that it is bound to; nil if
// there is none.
func ClaimOf(pvc *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) Claim {
	if pvc == nil {
		return Claim{}
	}
	c := Claim{Name: pvc.Name, AccessModes: pvc.Spec.AccessModes}
	// Sequential removes the last pod that uses it, which is what its protection
	// and the garbage collector wait for.
	switch {
	case pvc.DeletionTimestamp != nil:
		c.Going = "it is being deleted, and only kept by the pod"
	case slices.ContainsFunc(pvc.OwnerReferences, func(r metav1.OwnerReference) bool { return r.APIVersion == "v1" && r.Kind == "Pod" }):
		c.Going = "it is owned by a pod, and removed with it"
	}
	// A volume of this name that belongs to somebody else says nothing about it.
	if pv == nil || pvc.Status.Phase != corev1.ClaimBound || pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != pvc.UID {
		return c
	}
	c.Bound = true
	if a := pv.Spec.NodeAffinity; a != nil {
		c.NodeAffinity = a.Required
	}
	switch {
	case pv.Spec.Local != nil:
		c.NodeLocal = "it is a local volume of its node"
	case pv.Spec.HostPath != nil:
		c.NodeLocal = "it is a directory of its node (hostPath)"
	case pinned(c.NodeAffinity):
		c.NodeLocal = "its node affinity names a single host"
	}
	return c
}

// pinned reports whether a selector allows one host only, as drivers of disks
// of a node write it.
func pinned(s *corev1.NodeSelector) bool {
	if s == nil {
		return false
	}
	host := ""
	for _, term := range s.NodeSelectorTerms {
		i := slices.IndexFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == corev1.LabelHostname && r.Operator == corev1.NodeSelectorOpIn && len(r.Values) == 1
		})
		if i < 0 || host != "" && term.MatchExpressions[i].Values[0] != host {
			return false
		}
		host = term.MatchExpressions[i].Values[0]
	}
	return host != ""
}

// VolumeVerdict is what the volumes of a pod allow.
type VolumeVerdict struct {
	Refused    string // why the pod cannot be moved at all
	OnePodOnly string // why the pod and a copy of it cannot have them at the same time
	Shared     string // the claim that both could write to, replaying the same messages
}

// Volumes judges the volumes of a pod of which the container moves. claims are
// those of ClaimNames.
func Volumes(pod *corev1.Pod, container string, claims []Claim) (v VolumeVerdict) {
	disposable := listed(pod, v1alpha1.AnnotationDisposableVolumes)
	for _, name := range disposable {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
		if i < 0 || pod.Spec.Volumes[i].EmptyDir == nil {
			return VolumeVerdict{Refused: fmt.Sprintf("the annotation %s of the pod names %q, which is not an emptyDir volume of it", v1alpha1.AnnotationDisposableVolumes, name)}
		}
	}
	for _, vol := range pod.Spec.Volumes {
		switch s := vol.VolumeSource; {
		case s.ConfigMap != nil, s.Secret != nil, s.DownwardAPI != nil, s.Projected != nil, s.NFS != nil, s.Image != nil:
			continue
		case s.CSI != nil && s.CSI.ReadOnly != nil && *s.CSI.ReadOnly:
			continue // made for the pod by the driver of either node, and nothing in it is the pod's
		case s.EmptyDir != nil:
			if mountsOf(pod, container, vol.Name) != notMounted && !slices.Contains(disposable, vol.Name) {
				v.Refused = fmt.Sprintf("the contents of the emptyDir volume %q do not move with the pod; if they may be lost, name it in the pod's annotation %s",
					vol.Name, v1alpha1.AnnotationDisposableVolumes)
				return v
			}
			continue
		case s.HostPath != nil:
			v.Refused = fmt.Sprintf("the volume %q is a directory of the node (hostPath), which another node does not have", vol.Name)
			return v
		case s.PersistentVolumeClaim != nil:
			c := s.PersistentVolumeClaim
			if v.Refused = v.claim(pod, container, vol.Name, c.ReadOnly, claims, c.ClaimName); v.Refused != "" {
				return v
			}
		case s.Ephemeral != nil:
			// The claim belongs to the pod and goes with it: neither a copy nor
			// the next pod of its name gets the contents.
			if mountsOf(pod, container, vol.Name) == notMounted {
				continue
			}
			v.Refused = fmt.Sprintf("the claim of the ephemeral volume %q is removed with the pod, and its contents do not move; use a volumeClaimTemplate of a StatefulSet", vol.Name)
			return v
		default:
			v.Refused = fmt.Sprintf("the volume %q is of a kind of which is not known that every node has the same; configMap, secret, downwardAPI, projected, nfs, image, read-only csi and persistentVolumeClaim are", vol.Name)
			return v
		}
	}
	return v
}

// claim judges the volume of a claim.
func (v *VolumeVerdict) claim(pod *corev1.Pod, container, volume string, readOnly bool, claims []Claim, name string) string {
	i := slices.IndexFunc(claims, func(c Claim) bool { return c.Name == name })
	if i < 0 || !claims[i].Bound {
		return fmt.Sprintf("the claim %q of the volume %q is not bound to a volume", name, volume)
	}
	c := claims[i]
	if c.Going != "" {
		return fmt.Sprintf("the claim %q of the volume %q cannot follow the pod: %s", name, volume, c.Going)
	}
	if c.NodeLocal != "" {
		return fmt.Sprintf("the claim %q of the volume %q cannot follow the pod: %s", name, volume, c.NodeLocal)
	}
	has := func(m corev1.PersistentVolumeAccessMode) bool { return slices.Contains(c.AccessModes, m) }
	switch {
	case has(corev1.ReadWriteOncePod):
		v.OnePodOnly = fmt.Sprintf("only one pod may use the claim %q (%s)", name, corev1.ReadWriteOncePod)
	case has(corev1.ReadWriteMany), has(corev1.ReadOnlyMany) && (readOnly || !has(corev1.ReadWriteOnce)):
	default:
		// Two pods may have it on the same node, which a migration leaves.
		v.OnePodOnly = fmt.Sprintf("the claim %q can be attached to one node at a time (%s)", name, corev1.ReadWriteOnce)
	}
	if has(corev1.ReadWriteMany) && !readOnly && mountsOf(pod, container, volume) == writable {
		v.Shared = name
	}
	return ""
}

// NodeFits says why a node cannot have the volumes of the claims, or nothing.
func NodeFits(claims []Claim, node *corev1.Node) string {
	for _, c := range claims {
		if c.NodeAffinity == nil {
			continue
		}
		switch ok, err := nodeaffinity.NewLazyErrorNodeSelector(c.NodeAffinity).Match(node); {
		case err != nil:
			return fmt.Sprintf("the node affinity of the volume of the claim %q cannot be read: %v", c.Name, err)
		case !ok:
			return fmt.Sprintf("the volume of the claim %q cannot be had on the node %q: its node affinity excludes it", c.Name, node.Name)
		}
	}
	return ""
}

// ClaimNames are the claims that the pod names, of which Volumes wants to know.
func ClaimNames(pod *corev1.Pod) (names []string) {
	for _, v := range pod.Spec.Volumes {
		if s := v.PersistentVolumeClaim; s != nil && !slices.Contains(names, s.ClaimName) {
			names = append(names, s.ClaimName)
		}
	}
	return names
}

type mounting int

const (
	notMounted mounting = iota
	readOnlyMount
	writable
)

// mountsOf says how a container has a volume.
func mountsOf(pod *corev1.Pod, container, volume string) (m mounting) {
	for _, c := range pod.Spec.Containers {
		if c.Name != container {
			continue
		}
		for _, vm := range c.VolumeMounts {
			switch {
			case vm.Name != volume:
			case vm.ReadOnly:
				m = max(m, readOnlyMount)
			default:
				m = writable
			}
		}
		for _, d := range c.VolumeDevices {
			if d.Name == volume {
				m = writable
			}
		}
	}
	return m
}

// listed reads an annotation that names things, separated by commas.
func listed(pod *corev1.Pod, annotation string) (names []string) {
	for name := range strings.SplitSeq(pod.Annotations[annotation], ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
