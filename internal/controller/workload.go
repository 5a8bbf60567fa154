package controller

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
)

// workload observes the owner of the pod that is moved, and the node that it goes to.
func (s *scope) workload(ctx context.Context, f *migration.Facts) error {
	st := &s.object.Status
	ref := st.Owner
	if ref == nil && f.Source.Pod != nil && pending(st.Phase) {
		ref, _, _ = owner.Of(f.Source.Pod)
	}
	if ref != nil {
		w, err := s.owner(ctx, *ref)
		if err != nil {
			return err
		}
		f.Owner = w
	}
	if ref != nil && ref.Kind == string(owner.ReplicaSet) && st.Phase == v1alpha1.PhaseFinalizing {
		if err := s.newcomers(ctx, *ref, f); err != nil {
			return err
		}
	}
	var err error
	f.Hostname, err = s.hostname(ctx, st.TargetNode)
	return err
}

// newcomers finds the pods that a ReplicaSet has made since the migration began, and
// how many of its pods it does not want. Its status tells that, too, but a moment
// late: when the copy has just been adopted it does not count it yet, and a newcomer
// would be let go to work that the ReplicaSet is about to remove.
func (s *scope) newcomers(ctx context.Context, ref v1alpha1.WorkloadReference, f *migration.Facts) error {
	from := client.Reader(s.Client)
	if meta.IsStatusConditionTrue(s.object.Status.Conditions, v1alpha1.ConditionAdopted) {
		from = s.Live // that there is none is not believed of the cache
	}
	var pods corev1.PodList
	if err := from.List(ctx, &pods, client.InNamespace(s.object.Namespace)); err != nil {
		return err
	}
	var serving int32
	for _, p := range pods.Items {
		if c := metav1.GetControllerOf(&p); c == nil || c.UID != ref.UID {
			continue
		}
		if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
			serving++
		}
		if st := &s.object.Status; p.UID != st.SourcePodUID && p.UID != st.TargetPodUID && !p.CreationTimestamp.Before(&s.object.CreationTimestamp) {
			f.Newcomers = append(f.Newcomers, p)
		}
	}
	if f.Owner.Present {
		f.Owner.Surplus = max(f.Owner.Surplus, serving-f.Owner.Replicas)
	}
	return nil
}

func pending(p v1alpha1.MigrationPhase) bool { return p == "" || p == v1alpha1.PhasePending }

// owner reads a workload. One that is not there is a Workload, too: it wants no pod.
func (s *scope) owner(ctx context.Context, ref v1alpha1.WorkloadReference) (*owner.Workload, error) {
	key := client.ObjectKey{Namespace: s.object.Namespace, Name: ref.Name}
	switch owner.Kind(ref.Kind) {
	case owner.StatefulSet:
		set := &appsv1.StatefulSet{}
		if err := s.Client.Get(ctx, key, set); err != nil {
			return &owner.Workload{}, client.IgnoreNotFound(err)
		}
		w := owner.FromStatefulSet(set)
		return &w, nil
	case owner.ReplicaSet:
		set := &appsv1.ReplicaSet{}
		if err := s.Client.Get(ctx, key, set); err != nil {
			return &owner.Workload{}, client.IgnoreNotFound(err)
		}
		var deployment *appsv1.Deployment
		if above := metav1.GetControllerOf(set); above != nil && above.Kind == "Deployment" {
			deployment = &appsv1.Deployment{}
			err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.object.Namespace, Name: above.Name}, deployment)
			if apierrors.IsNotFound(err) {
				deployment, err = nil, nil
			}
			if err != nil {
				return nil, err
			}
		}
		w := owner.FromReplicaSet(set, deployment)
		return &w, nil
	}
	return nil, nil
}

// hostname is the label of a node by which a pod is sent there.
func (s *scope) hostname(ctx context.Context, node string) (string, error) {
	if node == "" {
		return "", nil
	}
	if known := s.session.hostnames[node]; known != "" {
		return known, nil
	}
	n := &corev1.Node{}
	if err := s.Live.Get(ctx, client.ObjectKey{Name: node}, n); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	if s.session.hostnames == nil {
		s.session.hostnames = map[string]string{}
	}
	s.session.hostnames[node] = n.Labels[corev1.LabelHostname]
	return n.Labels[corev1.LabelHostname], nil
}

// claims reads the claims on volumes that a pod has, with what they are bound to.
func (s *scope) claims(ctx context.Context, pod *corev1.Pod) ([]migration.Claim, error) {
	if pod == nil {
		return nil, nil
	}
	var claims []migration.Claim
	for _, name := range migration.ClaimNames(pod) {
		claim := &corev1.PersistentVolumeClaim{}
		err := s.Live.Get(ctx, client.ObjectKey{Namespace: s.object.Namespace, Name: name}, claim)
		if apierrors.IsNotFound(err) {
			continue // a claim that is not among them is not bound
		}
		if err != nil {
			return nil, err
		}
		var volume *corev1.PersistentVolume
		if claim.Spec.VolumeName != "" {
			volume = &corev1.PersistentVolume{}
			if err := s.Live.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, volume); err != nil {
				if !apierrors.IsNotFound(err) {
					return nil, err
				}
				volume = nil
			}
		}
		claims = append(claims, migration.ClaimOf(claim, volume))
	}
	return claims, nil
}
