// Package request makes the StatefulMigration of a pod when nobody has written one:
// for kubectl ms2m and for an eviction. It is pure.
package request

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// DefaultSecretKey is the key of a Secret that is named without one.
const DefaultSecretKey = "url"

// Overrides are what the one who asks says: it comes before what the pod says, and
// that before what its policy does.
type Overrides struct {
	// Name of the StatefulMigration; if it is empty the API server makes one of
	// the pod's name.
	Name string
	// Spec is taken as it is: what is zero in it is not said. SourcePod is the pod.
	Spec v1alpha1.StatefulMigrationSpec
}

// For makes the migration of a pod under its policy (nil: none). What the policy has
// for all is left out: the manager takes it from there, as of when the migration
// begins. The error names what is missing and how to give it.
func For(pod *corev1.Pod, policy *v1alpha1.MigrationPolicy, o Overrides) (*v1alpha1.StatefulMigration, error) {
	m := &v1alpha1.StatefulMigration{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "StatefulMigration"},
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: o.Name},
		Spec:       *o.Spec.DeepCopy(),
	}
	if o.Name == "" {
		m.GenerateName = prefix(pod.Name)
	}
	m.Spec.SourcePod = v1alpha1.PodReference{Name: pod.Name}
	q := &m.Spec.MessageQueueConfig
	var missing []string
	if q.QueueName == "" && len(q.QueueNames) == 0 {
		NameQueues(q, pod.Annotations[v1alpha1.AnnotationQueueName])
	}
	if q.QueueName == "" && len(q.QueueNames) == 0 {
		missing = append(missing, "the primary queue (spec.messageQueueConfig.queueName or queueNames, or the annotation "+v1alpha1.AnnotationQueueName+" on the pod)")
	}
	if q.BrokerURL == "" && q.BrokerURLSecretRef == nil {
		ref, err := secret(pod.Annotations[v1alpha1.AnnotationBrokerURLSecret])
		switch {
		case err != nil:
			return nil, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
		case ref == nil:
			missing = append(missing, "the broker (spec.messageQueueConfig.brokerURLSecretRef, or the annotation "+v1alpha1.AnnotationBrokerURLSecret+" on the pod, the name of a Secret or name/key)")
		}
		q.BrokerURLSecretRef = ref
	}
	r := &m.Spec.CheckpointImageRepository
	if *r = cmp.Or(*r, pod.Annotations[v1alpha1.AnnotationRepository]); *r == "" &&
		(policy == nil || policy.Spec.Defaults.CheckpointImageRepository == "") {
		missing = append(missing, "the repository for checkpoints (spec.checkpointImageRepository, the annotation "+v1alpha1.AnnotationRepository+" on the pod, or defaults.checkpointImageRepository of a MigrationPolicy)")
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("pod %s/%s: nobody says %s", pod.Namespace, pod.Name, strings.Join(missing, "; nor "))
	}
	return m, nil
}

// NameQueues names the primary queues: one, or several separated by commas. (A name that
// has a comma can only be given in a spec.)
func NameQueues(c *v1alpha1.MessageQueueConfig, names string) {
	c.QueueName, c.QueueNames = names, nil
	if strings.Contains(names, ",") {
		c.QueueName, c.QueueNames = "", strings.Split(names, ",")
		for i, n := range c.QueueNames {
			c.QueueNames[i] = strings.TrimSpace(n)
		}
	}
}

// prefix is what generated names begin with: the API server adds five characters, and
// a label value, which names may become, has 63.
func prefix(pod string) string { return pod[:min(len(pod), 57)] + "-" }

// secret reads name or name/key; empty: nothing is said.
func secret(s string) (*v1alpha1.SecretKeyReference, error) {
	if s == "" {
		return nil, nil
	}
	name, key, keyed := strings.Cut(s, "/")
	if name == "" || keyed && key == "" || strings.Contains(key, "/") {
		return nil, fmt.Errorf("the annotation %s is %q: it must be the name of a Secret, or name/key", v1alpha1.AnnotationBrokerURLSecret, s)
	}
	return &v1alpha1.SecretKeyReference{Name: name, Key: cmp.Or(key, DefaultSecretKey)}, nil
}
