package integration

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

const (
	nodeA = "node-a"
	nodeB = "node-b"
	nodeX = "node-x" // another architecture
)

// cluster makes what all tests share.
func cluster(ctx context.Context) error {
	for name, arch := range map[string]string{nodeA: "amd64", nodeB: "amd64", nodeX: "arm64"} {
		if err := addNode(ctx, name, arch); err != nil {
			return err
		}
	}
	class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RuntimeClassName}, Handler: "ms2m"}
	if err := kube.Create(ctx, class); err != nil {
		return err
	}
	if err := apply(ctx, "ms2m-statefulmigration", "ms2m-placement"); err != nil {
		return err
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, policyActive); err != nil {
		return fmt.Errorf("the admission policy: %w", err)
	}
	binding := &admissionv1.MutatingAdmissionPolicyBinding{}
	if err := kube.Get(ctx, client.ObjectKey{Name: "ms2m-placement"}, binding); err != nil {
		return err
	}
	blindfold(binding)
	if err := kube.Update(ctx, binding); err != nil {
		return err
	}
	if err := placementActive(ctx); err != nil {
		return fmt.Errorf("the policy of placements: %w", err)
	}
	return nil
}

// addNode adds a node that is ready.
func addNode(ctx context.Context, name, arch string) error {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname: name, "zone": strings.TrimPrefix(name, "node-"),
	}}}
	if err := kube.Create(ctx, n); err != nil {
		return err
	}
	n.Status.NodeInfo = corev1.NodeSystemInfo{Architecture: arch, OperatingSystem: "linux"}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := kube.Status().Update(ctx, n); err != nil {
		return err
	}
	n.Spec.Taints = nil // the admission plugin's, which the node controller would remove
	return kube.Update(ctx, n)
}

// placementActive waits until a pod that a migration in the default namespace asks
// for is changed at admission.
func placementActive(ctx context.Context) error {
	m := &v1alpha1.StatefulMigration{
		ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: metav1.NamespaceDefault},
		Spec: v1alpha1.StatefulMigrationSpec{
			SourcePod: v1alpha1.PodReference{Name: "p"}, CheckpointImageRepository: "registry/a",
			MessageQueueConfig: v1alpha1.MessageQueueConfig{BrokerURL: "amqp://broker", QueueName: "q"},
		},
	}
	if err := kube.Create(ctx, m); err != nil {
		return err
	}
	m.Status.Placement = &v1alpha1.Placement{PodName: "p", OwnerUID: "o", Container: "main", Handover: "h", Hostname: nodeB}
	if err := kube.Status().Update(ctx, m); err != nil {
		return err
	}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: metav1.NamespaceDefault, OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "p", UID: "o", Controller: ptr.To(true)},
			}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "counter"}}},
		}
		err := kube.Create(ctx, pod, client.DryRunAll)
		return err == nil && len(pod.Spec.ReadinessGates) == 1, nil
	})
	if err != nil {
		return err
	}
	return kube.Delete(ctx, m)
}

// policyActive reports whether the API server has taken note of the policy.
func policyActive(ctx context.Context) (bool, error) {
	m := &v1alpha1.StatefulMigration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-", Namespace: metav1.NamespaceDefault},
		Spec: v1alpha1.StatefulMigrationSpec{
			SourcePod:                 v1alpha1.PodReference{Name: "p", Namespace: "elsewhere"},
			CheckpointImageRepository: "registry/a",
			MessageQueueConfig:        v1alpha1.MessageQueueConfig{BrokerURL: "amqp://broker", QueueName: "q"},
		},
	}
	return kube.Create(ctx, m, client.DryRunAll) != nil, nil
}

// apply creates what the manifests have of these names, but no workload.
func apply(ctx context.Context, names ...string) error {
	path := filepath.Join(root, "config/install.yaml")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := applyFrom(ctx, f, names...); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// applyFrom creates what manifests have of these names, but no workload.
func applyFrom(ctx context.Context, manifests io.Reader, names ...string) error {
	d := yaml.NewYAMLOrJSONDecoder(manifests, 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(u); err != nil {
			if err.Error() == "EOF" {
				return nil
			}
			return err
		}
		if kind := u.GetKind(); !slices.Contains(names, u.GetName()) || kind == "Deployment" || kind == "DaemonSet" {
			continue
		}
		if err := kube.Create(ctx, u); err != nil {
			return err
		}
	}
}
