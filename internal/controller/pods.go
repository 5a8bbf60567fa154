package controller

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// Changes to pods that exist. Each is bound to the pod's UID: a patch that names
// another UID than the pod has is refused, so that a pod of the same name that
// has come meanwhile is not touched.

type object = map[string]any

func (s *scope) patchPod(ctx context.Context, name string, uid types.UID, kind types.PatchType, patch object, status bool) error {
	meta, _ := patch["metadata"].(object)
	if meta == nil {
		meta = object{}
		patch["metadata"] = meta
	}
	meta["uid"] = uid
	data, err := json.Marshal(patch)
	if err != nil {
		return migration.Fatal(migration.ReasonInvalidSpec, err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.object.Namespace}}
	if status {
		err = s.Client.Status().Patch(ctx, pod, client.RawPatch(kind, data))
	} else {
		err = s.Client.Patch(ctx, pod, client.RawPatch(kind, data))
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return migration.Passing(migration.ReasonUnavailable, fmt.Errorf("the pod %q of the UID %s is gone: %w", name, uid, err))
	}
	return apiError(migration.ReasonUnavailable, err)
}

func (s *scope) openGate(ctx context.Context, a migration.OpenGate) error {
	return s.patchPod(ctx, a.Name, a.UID, types.StrategicMergePatchType, object{
		"status": object{"conditions": []object{{
			"type": v1alpha1.ConditionLive, "status": corev1.ConditionTrue, "reason": "Committed",
			"message": "the pod owns the state", "lastTransitionTime": metav1.NewTime(s.Clock.Now()),
		}}},
	}, true)
}

// expend has a ReplicaSet choose a pod first.
func (s *scope) expend(ctx context.Context, a migration.Expend) error {
	return s.patchPod(ctx, a.Name, a.UID, types.MergePatchType, object{
		"metadata": object{"annotations": object{
			corev1.PodDeletionCost: migration.LeastCost, v1alpha1.AnnotationDeletionCost: a.Cost,
		}},
	}, false)
}

// adopt gives the copy what it lacks of a pod of its ReplicaSet, in one write.
func (s *scope) adopt(ctx context.Context, a migration.Adopt) error {
	return s.patchPod(ctx, a.Name, a.UID, types.MergePatchType, object{
		"metadata": object{
			"labels":          a.Labels,
			"ownerReferences": []metav1.OwnerReference{a.Owner},
			"annotations": object{
				corev1.PodDeletionCost:          migration.MostCost,
				v1alpha1.AnnotationDeletionCost: a.Cost,
			},
		},
	}, false)
}

// settleTarget takes the marks of the migration from the target.
func (s *scope) settleTarget(ctx context.Context, a migration.SettleTarget) error {
	annotations := object{}
	if a.Cost != nil {
		annotations[v1alpha1.AnnotationDeletionCost] = nil
		annotations[corev1.PodDeletionCost] = nil
		if *a.Cost != "" {
			annotations[corev1.PodDeletionCost] = *a.Cost
		}
	}
	return s.patchPod(ctx, a.Name, a.UID, types.MergePatchType, object{
		"metadata": object{"labels": object{v1alpha1.LabelMigration: nil}, "annotations": annotations},
	}, false)
}
