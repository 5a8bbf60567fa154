package request_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/request"
)

const (
	queue      = v1alpha1.AnnotationQueueName
	broker     = v1alpha1.AnnotationBrokerURLSecret
	repository = v1alpha1.AnnotationRepository
)

func pod(annotations ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "counter-0", Annotations: map[string]string{}}}
	for i := 0; i < len(annotations); i += 2 {
		p.Annotations[annotations[i]] = annotations[i+1]
	}
	return p
}

func TestFor(t *testing.T) {
	t.Parallel()
	said := v1alpha1.StatefulMigrationSpec{
		CheckpointImageRepository: "said/a",
		MessageQueueConfig:        v1alpha1.MessageQueueConfig{QueueName: "said", BrokerURL: "amqp://said"},
		TargetNode:                &v1alpha1.TargetNode{Name: "node-b"}, DryRun: true,
	}
	policy := &v1alpha1.MigrationPolicy{}
	policy.Spec.Defaults.CheckpointImageRepository = "policy/a"
	for name, test := range map[string]struct {
		pod       *corev1.Pod
		policy    *v1alpha1.MigrationPolicy
		overrides request.Overrides
		want      v1alpha1.StatefulMigrationSpec
		err       []string
	}{
		"all by the pod": {
			pod: pod(queue, "orders", broker, "rabbit", repository, "pod/a"),
			want: v1alpha1.StatefulMigrationSpec{CheckpointImageRepository: "pod/a", MessageQueueConfig: v1alpha1.MessageQueueConfig{
				QueueName: "orders", BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: "rabbit", Key: "url"}}},
		},
		"several queues": {
			pod: pod(queue, "orders, payments", broker, "rabbit", repository, "pod/a"),
			want: v1alpha1.StatefulMigrationSpec{CheckpointImageRepository: "pod/a", MessageQueueConfig: v1alpha1.MessageQueueConfig{
				QueueNames: []string{"orders", "payments"}, BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: "rabbit", Key: "url"}}},
		},
		"several queues are said": {
			pod: pod(queue, "orders", broker, "rabbit", repository, "pod/a"),
			overrides: request.Overrides{Spec: v1alpha1.StatefulMigrationSpec{
				MessageQueueConfig: v1alpha1.MessageQueueConfig{QueueNames: []string{"a", "b"}}}},
			want: v1alpha1.StatefulMigrationSpec{CheckpointImageRepository: "pod/a", MessageQueueConfig: v1alpha1.MessageQueueConfig{
				QueueNames: []string{"a", "b"}, BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: "rabbit", Key: "url"}}},
		},
		"a key": {
			pod: pod(queue, "orders", broker, "rabbit/amqp", repository, "pod/a"),
			want: v1alpha1.StatefulMigrationSpec{CheckpointImageRepository: "pod/a", MessageQueueConfig: v1alpha1.MessageQueueConfig{
				QueueName: "orders", BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: "rabbit", Key: "amqp"}}},
		},
		"the pod before the policy": {
			pod: pod(queue, "orders", broker, "rabbit", repository, "pod/a"), policy: policy,
			want: v1alpha1.StatefulMigrationSpec{CheckpointImageRepository: "pod/a", MessageQueueConfig: v1alpha1.MessageQueueConfig{
				QueueName: "orders", BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: "rabbit", Key: "url"}}},
		},
		"the policy's repository is left to the manager": {
			pod: pod(queue, "orders", broker, "rabbit"), policy: policy,
			want: v1alpha1.StatefulMigrationSpec{MessageQueueConfig: v1alpha1.MessageQueueConfig{
				QueueName: "orders", BrokerURLSecretRef: &v1alpha1.SecretKeyReference{Name: "rabbit", Key: "url"}}},
		},
		"what is said before the pod": {
			pod: pod(queue, "orders", broker, "rabbit", repository, "pod/a"), overrides: request.Overrides{Spec: said},
			want: said,
		},
		"nothing": {pod: pod(), err: []string{"pod shop/counter-0: ", "messageQueueConfig.queueName", queue, "brokerURLSecretRef", broker,
			"spec.checkpointImageRepository", repository, "defaults.checkpointImageRepository"}},
		"no queue":          {pod: pod(broker, "rabbit", repository, "pod/a"), err: []string{queue}},
		"a policy without":  {pod: pod(queue, "orders", broker, "rabbit"), policy: &v1alpha1.MigrationPolicy{}, err: []string{repository}},
		"not a Secret":      {pod: pod(queue, "orders", broker, "a/b/c", repository, "pod/a"), err: []string{broker, `"a/b/c"`, "name/key"}},
		"a Secret, no key":  {pod: pod(queue, "orders", broker, "rabbit/", repository, "pod/a"), err: []string{`"rabbit/"`}},
		"a key, no Secret ": {pod: pod(queue, "orders", broker, "/url", repository, "pod/a"), err: []string{`"/url"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := request.For(test.pod, test.policy, test.overrides)
			if test.err != nil {
				for _, part := range test.err {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("%v, want %q in it", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			test.want.SourcePod.Name = "counter-0"
			if !equality.Semantic.DeepEqual(m.Spec, test.want) {
				t.Errorf("%+v\nwant %+v", m.Spec, test.want)
			}
			if m.Namespace != "shop" || m.Name != "" || m.GenerateName != "counter-0-" {
				t.Errorf("%s/%s (%s)", m.Namespace, m.Name, m.GenerateName)
			}
		})
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	p := pod(queue, "orders", broker, "rabbit", repository, "pod/a")
	m, err := request.For(p, nil, request.Overrides{Name: "mine"})
	if err != nil || m.Name != "mine" || m.GenerateName != "" {
		t.Errorf("%+v, %v", m, err)
	}
	p.Name = strings.Repeat("long", 40)
	if m, err = request.For(p, nil, request.Overrides{}); err != nil || len(m.GenerateName) != 58 {
		t.Errorf("%q has %d characters, %v", m.GenerateName, len(m.GenerateName), err)
	}
}
