// Package config_test holds what the manifests grant and how the programs are confined
// against docs/security.md.
package config_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	file              string
}

// TestRules holds that no rule says more than is needed: no wildcard, no way to more
// rights, Secrets by name only, of a node's interfaces only checkpoints.
func TestRules(t *testing.T) {
	for _, o := range read(t) {
		for _, r := range o.Rules {
			where := o.file + ", " + o.Kind + " " + o.Name
			for _, list := range [][]string{r.APIGroups, r.Resources, r.Verbs, r.ResourceNames} {
				if slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, "*") }) {
					t.Errorf("%s: a wildcard: %+v", where, r)
				}
			}
			if len(r.NonResourceURLs) > 0 {
				t.Errorf("%s: %v", where, r.NonResourceURLs)
			}
			for _, verb := range []string{"escalate", "bind", "impersonate", "deletecollection", "approve", "sign"} {
				if slices.Contains(r.Verbs, verb) {
					t.Errorf("%s: %s: %+v", where, verb, r)
				}
			}
			for _, resource := range r.Resources {
				group, _, _ := strings.Cut(resource, "/")
				switch {
				case group == "secrets" && (o.Name != "ms2m-manager" || !slices.Equal(r.Verbs, []string{"get"})):
					t.Errorf("%s: Secrets can be read by who knows their name, by the manager alone: %+v", where, r)
				case resource == "nodes/proxy" && o.file != "rbac/kubelet-proxy.yaml",
					strings.HasPrefix(resource, "nodes/") && resource != "nodes/proxy" && resource != "nodes/checkpoint":
					t.Errorf("%s: %s", where, resource)
				case slices.Contains([]string{"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "serviceaccounts/token", "configmaps"}, resource):
					t.Errorf("%s: %s", where, resource)
				case strings.HasSuffix(r.APIGroups[0], "rbac.authorization.k8s.io"), strings.HasSuffix(r.APIGroups[0], "admissionregistration.k8s.io"):
					t.Errorf("%s: %v", where, r.APIGroups)
				case group == "statefulmigrations" && slices.Contains(r.Verbs, "create"):
					t.Errorf("%s: whoever moves a pod is asked for, and no program of ours asks", where)
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
		account := "ms2m-manager"
		if o.Name == "ms2m-node-agent" {
			account = "ms2m-node-agent"
		}
		if len(o.Subjects) != 1 || o.Subjects[0].Kind != "ServiceAccount" || o.Subjects[0].Name != account || o.Subjects[0].Namespace != "ms2m-system" || o.RoleRef.Name != o.Name {
			t.Errorf("%s %s binds %s to %+v", o.Kind, o.Name, o.RoleRef.Name, o.Subjects)
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
						t.Errorf("%s: %s %s", o.Kind, verb, resource)
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
		case "Deployment":
			var d appsv1.Deployment
			decode(t, o.raw, &d)
			pod = d.Spec.Template.Spec
			s, c := pod.SecurityContext, pod.Containers[0].SecurityContext
			if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
				c == nil || c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation || c.Privileged != nil && *c.Privileged ||
				c.Capabilities == nil || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(c.Capabilities.Add) > 0 {
				t.Errorf("%s: %+v, %+v", o.file, s, c)
			}
			for _, v := range pod.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s: the node's path %s", o.file, v.HostPath.Path)
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
			t.Errorf("%s: the node's network", o.file)
		}
		for _, c := range pod.Containers {
			if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s: %s can write to its image", o.file, c.Name)
			}
			for _, p := range c.Ports {
				if p.HostPort != 0 || p.Name != "health" && p.Name != "metrics" {
					t.Errorf("%s: the port %+v", o.file, p)
				}
			}
			for _, arg := range append(c.Args, c.Command...) {
				if strings.Contains(arg, "plain-http") || strings.Contains(arg, "insecure") {
					t.Errorf("%s: %s", o.file, arg)
				}
			}
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					t.Errorf("%s: %s is a secret in the environment, where a dump shows it", o.file, e.Name)
				}
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d programs were looked at, want manager and agent", seen)
	}
}

// read reads every object of every manifest.
func read(t *testing.T) (all []object) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
			var raw rawObject
			if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			o := object{raw: raw, file: path}
			decode(t, raw, &o)
			all = append(all, o)
		}
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d objects, %v", len(all), err)
	}
	return all
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
