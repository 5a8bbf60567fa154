// Package charts_test holds what the chart grants and how the programs are confined,
// whatever its values, against docs/security.md.
package charts_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// object is any of the kinds that are looked at.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Rules             []rbacv1.PolicyRule `json:"rules"`
	RoleRef           rbacv1.RoleRef      `json:"roleRef"`
	Subjects          []rbacv1.Subject    `json:"subjects"`
	raw               []byte
	where             string // values, kind and name
	values            string
}

// TestRules holds that no rule says more than is needed: no wildcard, no way to more
// rights, Secrets by name only, of a node's interfaces only checkpoints.
func TestRules(t *testing.T) {
	for _, o := range read(t) {
		for _, r := range o.Rules {
			for _, list := range [][]string{r.APIGroups, r.Resources, r.Verbs, r.ResourceNames} {
				if slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, "*") }) {
					t.Errorf("%s: a wildcard: %+v", o.where, r)
				}
			}
			if len(r.NonResourceURLs) > 0 && (o.Name != "ms2m-metrics-reader" || !slices.Equal(r.NonResourceURLs, []string{"/metrics"})) {
				t.Errorf("%s: %v", o.where, r.NonResourceURLs)
			}
			for _, verb := range []string{"escalate", "bind", "impersonate", "deletecollection", "approve", "sign"} {
				if slices.Contains(r.Verbs, verb) {
					t.Errorf("%s: %s: %+v", o.where, verb, r)
				}
			}
			for _, resource := range r.Resources {
				group, _, _ := strings.Cut(resource, "/")
				switch {
				case o.Name == "ms2m-manager-webhook":
					// The webhook's certificate, and who trusts it: by name, and only if the manager makes it.
					if !slices.Equal(r.Verbs, []string{"get", "update"}) || len(r.ResourceNames) != 1 || !strings.HasPrefix(r.ResourceNames[0], "ms2m-") ||
						resource == "secrets" && o.Kind != "Role" || strings.Contains(o.values, "certSecret") {
						t.Errorf("%s: %+v", o.where, r)
					}
				case group == "secrets" && (o.Name != "ms2m-manager" || !slices.Equal(r.Verbs, []string{"get"})):
					t.Errorf("%s: Secrets can be read by who knows their name, by the manager alone: %+v", o.where, r)
				case resource == "nodes/proxy" && (o.Name != "ms2m-manager-kubelet" || strings.Contains(o.values, "kubelet.access=direct")),
					strings.HasPrefix(resource, "nodes/") && resource != "nodes/proxy" && resource != "nodes/checkpoint":
					t.Errorf("%s: %s", o.where, resource)
				case slices.Contains([]string{"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "serviceaccounts/token", "configmaps"}, resource):
					t.Errorf("%s: %s", o.where, resource)
				case slices.Contains([]string{"tokenreviews", "subjectaccessreviews"}, resource) && !strings.Contains(o.values, "metrics.secure=true") && o.Name != "ms2m-manager":
					t.Errorf("%s: who somebody is need be known only where metrics are guarded: %+v", o.where, r)
				case strings.HasSuffix(r.APIGroups[0], "rbac.authorization.k8s.io"), strings.HasSuffix(r.APIGroups[0], "admissionregistration.k8s.io"):
					t.Errorf("%s: %v", o.where, r.APIGroups)
				case group == "statefulmigrations" && slices.Contains(r.Verbs, "create") && !slices.Contains(userRoles, o.Name) &&
					(o.Name != "ms2m-manager-drain" || !strings.Contains(o.values, "drain.")):
					t.Errorf("%s: whoever moves a pod is asked for, and no program of ours asks but for an eviction", o.where)
				}
			}
		}
	}
}

// TestBindings holds that each role is bound to the account of its own program alone.
func TestBindings(t *testing.T) {
	bound := 0
	for _, o := range read(t) {
		if o.Kind != "ClusterRoleBinding" && o.Kind != "RoleBinding" {
			continue
		}
		bound++
		account := rbacv1.Subject{Kind: "ServiceAccount", Name: "ms2m-manager", Namespace: "ms2m-system"}
		if strings.HasPrefix(o.Name, "ms2m-node-agent") {
			account.Name, account.Namespace = "ms2m-node-agent", "ms2m-nodes"
		} else if strings.HasPrefix(o.Name, "ms2m-uninstall") {
			account.Name = "ms2m-uninstall"
		}
		if !slices.Equal(o.Subjects, []rbacv1.Subject{account}) || o.RoleRef.Name != o.Name {
			t.Errorf("%s binds %s to %+v", o.where, o.RoleRef.Name, o.Subjects)
		}
	}
	if bound == 0 {
		t.Error("no binding was found")
	}
}

// TestAgentRules holds that an agent, which every node has, reads no Secret and no pod,
// and writes nothing but the legs (which a policy bounds to its node) and its own pod.
func TestAgentRules(t *testing.T) {
	allowed := map[string][]string{
		"checkpointtransfers": {"get", "list", "watch", "patch"}, "checkpointtransfers/status": {"patch"}, "pods": {"patch"},
	}
	for _, o := range read(t) {
		if o.Name != "ms2m-node-agent" {
			continue
		}
		for _, r := range o.Rules {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					if !slices.Contains(allowed[resource], verb) || resource == "pods" && o.Kind != "Role" {
						t.Errorf("%s: %s %s", o.where, verb, resource)
					}
				}
			}
		}
	}
}

// TestConfined holds that the programs listen for nothing but probes and metrics, run
// as little privileged as they can, and check certificates.
func TestConfined(t *testing.T) {
	seen := 0
	for _, o := range read(t) {
		var pod corev1.PodSpec
		switch o.Kind {
		case "Deployment", "Job":
			var d appsv1.Deployment // a Job has its pod in the same place
			decode(t, o.raw, &d)
			pod = d.Spec.Template.Spec
			s, c := pod.SecurityContext, pod.Containers[0].SecurityContext
			if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
				c == nil || c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation || c.Privileged != nil && *c.Privileged ||
				c.Capabilities == nil || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(c.Capabilities.Add) > 0 {
				t.Errorf("%s: %+v, %+v", o.where, s, c)
			}
			for _, v := range pod.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s: the node's path %s", o.where, v.HostPath.Path)
				}
			}
		case "DaemonSet":
			var d appsv1.DaemonSet
			decode(t, o.raw, &d)
			pod = d.Spec.Template.Spec
		default:
			continue
		}
		seen++
		if pod.HostNetwork || pod.HostIPC {
			t.Errorf("%s: the node's network", o.where)
		}
		for _, c := range pod.Containers {
			if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s: %s can write to its image", o.where, c.Name)
			}
			for _, p := range c.Ports {
				if p.HostPort != 0 || p.Name != "health" && p.Name != "metrics" && (p.Name != "webhook" || !strings.Contains(o.values, "webhook.enabled")) {
					t.Errorf("%s: the port %+v", o.where, p)
				}
			}
			for _, arg := range append(c.Args, c.Command...) {
				if strings.Contains(arg, "plain-http") || strings.Contains(arg, "insecure") {
					t.Errorf("%s: %s", o.where, arg)
				}
			}
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					t.Errorf("%s: %s is a secret in the environment, where a dump shows it", o.where, e.Name)
				}
			}
		}
	}
	if seen != 3*len(valueSets) {
		t.Errorf("%d programs were looked at, want manager, agent and uninstaller of %d sets of values", seen, len(valueSets))
	}
}

// valueSets are the values that change what is granted.
var valueSets = []string{
	"",
	"kubelet.access=direct,networkPolicy.egress.restrict=true,agent.criticalPodsQuota=100",
	"metrics.secure=true,metrics.scrapeAnnotations=true,metrics.podMonitor.enabled=true,metrics.rules.enabled=true,metrics.dashboard.enabled=true,manager.otlpEndpoint=http://otlp:4318",
	"drain.webhook.enabled=true,drain.evictionRequests.enabled=true",
	"drain.webhook.enabled=true,drain.webhook.certSecret=mine,drain.webhook.failurePolicy=Fail",
	"manager.replicas=3,rbac.aggregateEditorTo=edit,crds.keep=false,kubelet.caConfigMap=kubelets,manager.pprofBindAddress=localhost:6060",
}

// userRoles are for people: the chart binds them to nobody.
var userRoles = []string{"ms2m-viewer", "ms2m-editor", "ms2m-admin"}

// rendered is what the chart is with each set of values; all tests look at the same.
var rendered = sync.OnceValues(func() (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, values := range valueSets {
		out, err := helm("template", "ms2m", "ms2m", "--namespace", "ms2m-system", "--set", values)
		if err != nil {
			return nil, fmt.Errorf("%q: %w: %s", values, err, out)
		}
		all[values] = out
	}
	return all, nil
})

// read reads every object of the chart, for each set of values.
func read(t *testing.T) (all []object) {
	t.Helper()
	manifests, err := rendered()
	if err != nil {
		t.Fatal(err)
	}
	for values, out := range manifests {
		objects := parse(t, values, out)
		if len(objects) == 0 {
			t.Fatalf("no objects with %q", values)
		}
		all = append(all, objects...)
	}
	return all
}

// render is what helm makes of the chart.
func render(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := helm(append([]string{"template", "ms2m", "ms2m", "--namespace", "ms2m-system"}, args...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return out
}

// program is the helm that tools/helm pins: where Go keeps it once it has been run.
var program = sync.OnceValues(func() (string, error) {
	// Go takes the result of an earlier run for this one's unless it sees what was read.
	err := filepath.WalkDir("ms2m", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	var path []byte
	for _, args := range [][]string{{"tool", "helm", "version"}, {"tool", "-n", "helm"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = "../tools/helm"
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile: there is one build of it, then
		if path, err = cmd.Output(); err != nil {
			return "", fmt.Errorf("%v: %w", cmd, err)
		}
	}
	return strings.TrimSpace(string(path)), nil
})

// helm returns all that it says.
func helm(args ...string) ([]byte, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	return exec.Command(path, args...).CombinedOutput()
}

func parse(t *testing.T, values string, manifests []byte) (all []object) {
	t.Helper()
	for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096); ; {
		var raw rawObject
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		o := object{raw: raw, values: values}
		decode(t, raw, &o)
		if o.Kind == "" {
			continue // a comment
		}
		o.where = fmt.Sprintf("%s %s (values %q)", o.Kind, o.Name, values)
		all = append(all, o)
	}
}

// rawObject keeps the text of an object, as JSON.
type rawObject []byte

// UnmarshalJSON implements json.Unmarshaler.
func (r *rawObject) UnmarshalJSON(b []byte) error {
	*r = bytes.Clone(b)
	return nil
}

func decode(t *testing.T, raw []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(raw, into); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
}
