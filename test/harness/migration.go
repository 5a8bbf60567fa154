package harness

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Migration is a StatefulMigration of the counter to another node, to be
// changed before it is created.
func (c *Counter) Migration(target string) *v1alpha1.StatefulMigration {
	return &v1alpha1.StatefulMigration{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
		Spec: v1alpha1.StatefulMigrationSpec{
			SourcePod:                 v1alpha1.PodReference{Name: c.Pod.Name},
			TargetNode:                &v1alpha1.TargetNode{Name: target},
			CheckpointImageRepository: c.lab.Registry + "/checkpoints/" + c.Namespace,
			MessageQueueConfig: v1alpha1.MessageQueueConfig{
				QueueName:          c.Queue,
				BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: BrokerSecret},
			},
		},
	}
}

// Follow tells every version of a migration's status until done says so; it fails
// when the migration is gone.
func (l *Lab) Follow(ctx context.Context, m *v1alpha1.StatefulMigration, done func(*v1alpha1.StatefulMigration) bool) (*v1alpha1.StatefulMigration, error) {
	var last *v1alpha1.StatefulMigration
	err := Until(ctx, l, m, &v1alpha1.StatefulMigrationList{}, func(now *v1alpha1.StatefulMigration) (bool, error) {
		if now == nil || now.UID != m.UID {
			return false, fmt.Errorf("the migration %s is gone", m.Name)
		}
		last = now
		return done(now), nil
	})
	if err != nil && last != nil {
		err = fmt.Errorf("%w (%s)", err, Summary(last))
	}
	return last, err
}

// Ended reports whether a migration is over.
func Ended(m *v1alpha1.StatefulMigration) bool {
	return m.Status.Phase == v1alpha1.PhaseCompleted || m.Status.Phase == v1alpha1.PhaseFailed
}

// Summary says where a migration stands, with what its conditions complain of.
func Summary(m *v1alpha1.StatefulMigration) string {
	s := fmt.Sprintf("phase %s", m.Status.Phase)
	for _, c := range m.Status.Conditions {
		if c.Status != metav1.ConditionTrue {
			s += fmt.Sprintf("; %s is %s, %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return s
}

// Condition is True, False, Unknown, or empty if the migration has none of
// this type.
func Condition(m *v1alpha1.StatefulMigration, kind string) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(m.Status.Conditions, kind); c != nil {
		return c.Status
	}
	return ""
}

// TargetPod is the pod that took over.
func (l *Lab) TargetPod(ctx context.Context, m *v1alpha1.StatefulMigration) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	key := client.ObjectKey{Namespace: m.Namespace, Name: m.Status.TargetPodName}
	if err := l.Client.Get(ctx, key, pod); err != nil {
		return nil, err
	}
	if pod.UID != m.Status.TargetPodUID {
		return nil, fmt.Errorf("pod %s has the UID %s, the migration's target has %s", key, pod.UID, m.Status.TargetPodUID)
	}
	return pod, nil
}

// DeleteMigration deletes a migration and waits until it is gone, that is,
// until the manager has removed its traces.
func (l *Lab) DeleteMigration(ctx context.Context, m *v1alpha1.StatefulMigration) error {
	if err := client.IgnoreNotFound(l.Client.Delete(ctx, m)); err != nil {
		return err
	}
	return Gone(ctx, l, m, &v1alpha1.StatefulMigrationList{})
}
