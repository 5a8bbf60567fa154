package integration

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestManifests: an API server takes everything that the chart makes of some values, and the
// rendered files, without a field that it does not know.
func TestManifests(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"ms2m-system", "ms2m-nodes"} {
		err := kube.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	for name, manifests := range map[string][]byte{
		"install.yaml":   readFile(t, "config/install.yaml"),
		"uninstall.yaml": readFile(t, "config/uninstall.yaml"),
		"direct access, closed network": helm(t, "kubelet.access=direct,kubelet.caConfigMap=kubelets,networkPolicy.egress.restrict=true,networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=ops,"+
			"agent.criticalPodsQuota=500,uninstall.nodes=keep,crds.keep=false"),
		"draining, guarded metrics": helm(t, "drain.webhook.enabled=true,drain.evictionRequests.enabled=true,metrics.secure=true,metrics.dashboard.enabled=true"),
		"several replicas": helm(t, "manager.replicas=3,manager.podDisruptionBudget.maxUnavailable=50%,manager.priorityClassName=system-cluster-critical,manager.tolerations[0].operator=Exists,"+
			"manager.pprofBindAddress=localhost:6060,rbac.aggregateEditorTo=edit,image.pullSecrets[0]=pull,manager.podLabels.a=b"),
		"authorities, another distribution": helm(t, "registry.caBundle=-----BEGIN CERTIFICATE-----,broker.caBundle=-----BEGIN CERTIFICATE-----,registry.plainHTTP=true,"+
			"agent.hostPaths.containerd=/run/k3s/containerd,agent.maxUnavailable=10%,agent.nodeSelector.pool=state,agent.extraArgs[0]=--import-config"),
	} {
		n := 0
		for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096); ; n++ {
			u := &unstructured.Unstructured{}
			if err := dec.Decode(u); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(u.Object) == 0 {
				continue
			}
			// An unknown field is refused, for u is judged strictly.
			err := client.WithFieldValidation(kube, metav1.FieldValidationStrict).Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u),
				client.DryRunAll, client.FieldOwner("test"), client.ForceOwnership)
			if err != nil {
				t.Errorf("%s: %s %s: %v", name, u.GetKind(), u.GetName(), err)
			}
		}
		if n < 5 {
			t.Errorf("%s: %d objects", name, n)
		}
	}
}

// TestRestricted: manager and uninstaller may run where Pod Security enforces restricted; that it does
// is shown by the agent, which may not.
func TestRestricted(t *testing.T) {
	t.Parallel()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "restricted", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if err := kube.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	seen := 0
	manifests := append(readFile(t, "config/install.yaml"), append([]byte("\n---\n"), readFile(t, "config/uninstall.yaml")...)...)
	for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096); ; {
		var o struct {
			Kind string `json:"kind"`
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		}
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			continue // a spec of another kind
		}
		if len(o.Spec.Template.Spec.Containers) == 0 {
			continue
		}
		seen++
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, GenerateName: "ms2m-"}, Spec: o.Spec.Template.Spec}
		pod.Spec.PriorityClassName = "" // there may be none here
		err := kube.Create(t.Context(), pod, client.DryRunAll)
		if want := o.Kind == "DaemonSet"; want != apierrors.IsForbidden(err) || !want && err != nil {
			t.Errorf("the pod of the %s: %v", o.Kind, err)
		}
	}
	if seen != 3 {
		t.Errorf("%d workloads were looked at, want manager, agent and uninstaller", seen)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// helm is what the chart is with some values.
func helm(t *testing.T, values string) []byte {
	t.Helper()
	cmd := exec.Command("go", "tool", "helm", "template", "ms2m", "../../charts/ms2m", "--namespace", "ms2m-system", "--set", values)
	cmd.Dir = filepath.Join(root, "tools/helm")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile: there is one build of it, then
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", values, err, &stderr)
	}
	return out
}
