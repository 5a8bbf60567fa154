package owner

import (
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// annotationRevision numbers the ReplicaSets of a Deployment; the Deployment's
// own is the newest one's.
const annotationRevision = "deployment.kubernetes.io/revision"

// Workload is what is known of the owner of a pod. The zero value is an owner
// that is gone.
type Workload struct {
	Present  bool
	Deleting bool // it, or the Deployment above it
	Kind     Kind
	UID      types.UID
	Name     string
	Replicas int32             // wanted
	Unready  int32             // of its pods
	Surplus  int32             // of the ReplicaSet's pods: they are not wanted
	Labels   map[string]string // that it gives its pods; of the StatefulSet those of the newest revision
	Selector labels.Selector

	// Settled: its controller has seen the newest spec. Before that the revisions
	// are those of an earlier one.
	Settled bool

	// Of a StatefulSet: the first ordinal, whether pods are made one after the
	// other, and the revision of ordinals below Fresh and from it on.
	Start   int32
	Ordered bool
	Fresh   int32
	Current string
	Update  string

	// Of a ReplicaSet: its number among those of its Deployment, and the newest.
	Revision string
	Newest   string
}

// FromStatefulSet takes the facts of a StatefulSet; nil if there is none.
func FromStatefulSet(s *appsv1.StatefulSet) Workload {
	if s == nil {
		return Workload{}
	}
	w := Workload{
		Present: true, Deleting: s.DeletionTimestamp != nil, Kind: StatefulSet, UID: s.UID, Name: s.Name,
		Replicas: wanted(s.Spec.Replicas), Unready: wanted(s.Spec.Replicas) - s.Status.ReadyReplicas, Labels: s.Spec.Template.Labels, Selector: selector(s.Spec.Selector),
		Settled: s.Status.ObservedGeneration >= s.Generation,
		Ordered: s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement,
		Current: s.Status.CurrentRevision, Update: s.Status.UpdateRevision,
	}
	if s.Spec.Ordinals != nil {
		w.Start = s.Spec.Ordinals.Start
	}
	if w.Current == "" {
		w.Current = w.Update
	}
	// As newVersionedStatefulSetPod decides it (kubernetes, pkg/controller/statefulset).
	w.Fresh = w.Start
	switch u := s.Spec.UpdateStrategy; {
	case u.RollingUpdate != nil && u.RollingUpdate.Partition != nil:
		w.Fresh += *u.RollingUpdate.Partition
	case u.RollingUpdate == nil && u.Type == appsv1.RollingUpdateStatefulSetStrategyType:
		w.Fresh += s.Status.CurrentReplicas
	}
	return w
}

// FromReplicaSet takes the facts of a ReplicaSet, and of the Deployment that
// its controller reference names; nil if there is none.
func FromReplicaSet(r *appsv1.ReplicaSet, d *appsv1.Deployment) Workload {
	if r == nil {
		return Workload{}
	}
	w := Workload{
		Present: true, Deleting: r.DeletionTimestamp != nil, Kind: ReplicaSet, UID: r.UID, Name: r.Name,
		Replicas: wanted(r.Spec.Replicas), Labels: r.Spec.Template.Labels, Selector: selector(r.Spec.Selector),
		Settled: true, Unready: r.Status.Replicas - r.Status.ReadyReplicas, Surplus: r.Status.Replicas - wanted(r.Spec.Replicas),
	}
	c := metav1.GetControllerOf(r)
	if c == nil || c.Kind != "Deployment" || c.APIVersion != appsv1.SchemeGroupVersion.String() {
		return w // nobody's, or of somebody whose rollouts are not known
	}
	if d == nil || d.UID != c.UID {
		w.Deleting = true // its Deployment is gone, and the garbage collector on its way
		return w
	}
	w.Deleting = w.Deleting || d.DeletionTimestamp != nil
	w.Settled = d.Status.ObservedGeneration >= d.Generation
	w.Revision, w.Newest = r.Annotations[annotationRevision], d.Annotations[annotationRevision]
	return w
}

func wanted(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

func selector(s *metav1.LabelSelector) labels.Selector {
	if sel, err := metav1.LabelSelectorAsSelector(s); err == nil {
		return sel
	}
	return labels.Nothing()
}

// Unwanted says why the workload of that UID would not make a pod of that name
// again if it went, or nothing: then its place is not to be taken. The pod may
// be gone already.
func (w Workload) Unwanted(uid types.UID, name string) string {
	switch {
	case !w.Present:
		return fmt.Sprintf("the workload of the pod %q is gone", name)
	case w.UID != uid:
		return fmt.Sprintf("the %s %q was replaced by another of its name", w.Kind, w.Name)
	case w.Deleting:
		return fmt.Sprintf("the %s %q is being deleted", w.Kind, w.Name)
	case w.Kind == ReplicaSet && w.Replicas == 0:
		return fmt.Sprintf("the ReplicaSet %q wants no pods", w.Name)
	case w.Kind != StatefulSet:
		return ""
	}
	set, ordinal, ok := Ordinal(name)
	switch {
	case !ok || set != w.Name:
		return fmt.Sprintf("%q is not the name of a pod of the StatefulSet %q", name, w.Name)
	case ordinal < w.Start || ordinal-w.Start >= w.Replicas:
		return fmt.Sprintf("the StatefulSet %q wants %d pods from ordinal %d, which leaves out %q", w.Name, w.Replicas, w.Start, name)
	}
	return ""
}

// Rollout says why the workload would not make the pod again as it is, or
// nothing: a rollout is under way or about to be, and a pod of the old revision
// must not be brought into a place of the new one.
func (w Workload) Rollout(pod *corev1.Pod) string {
	if !w.Settled {
		return fmt.Sprintf("the controller of the %s %q has not seen its newest spec yet", w.Kind, w.Name)
	}
	if w.Kind != StatefulSet {
		if w.Revision != w.Newest {
			return fmt.Sprintf("the Deployment of the ReplicaSet %q is at revision %q, the pod %q is of revision %q: a rollout is under way", w.Name, w.Newest, pod.Name, w.Revision)
		}
		return ""
	}
	_, ordinal, ok := Ordinal(pod.Name)
	if !ok {
		return fmt.Sprintf("%q is not the name of a pod of the StatefulSet %q", pod.Name, w.Name)
	}
	next := w.Update
	if ordinal < w.Fresh {
		next = w.Current
	}
	if has := pod.Labels[appsv1.StatefulSetRevisionLabel]; has != next {
		return fmt.Sprintf("the StatefulSet %q would make the pod %q of revision %q, it is of revision %q: a rollout is under way or held by its partition or strategy", w.Name, pod.Name, next, has)
	}
	return ""
}

// Ordinal takes the name of a StatefulSet's pod apart. ok is false if no
// StatefulSet would take a pod of that name for its own.
func Ordinal(pod string) (set string, ordinal int32, ok bool) {
	i := strings.LastIndexByte(pod, '-')
	if i < 0 {
		return "", -1, false
	}
	digits := pod[i+1:]
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", -1, false
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return "", -1, false
	}
	return pod[:i], int32(n), true
}
