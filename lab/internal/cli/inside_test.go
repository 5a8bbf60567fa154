package cli

import (
	"slices"
	"testing"

	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/spec"
)

func TestHostEnvReplacesAndKeeps(t *testing.T) {
	l := spec.Lab{State: layout.State{Dir: "/s"}, Binaries: spec.Binaries{Kubernetes: "/k"}}
	t.Setenv("PATH", "/usr/bin")
	env := hostEnv(l, []string{"PATH=/usr/bin", "KUBECONFIG=/mine", "TERM=xterm"})
	for _, want := range []string{"PATH=/k:/usr/bin", "KUBECONFIG=/s/kubeconfig", "TERM=xterm", "MS2M_LAB_REGISTRY=10.99.0.1:5000", "SSL_CERT_FILE=/s/pki/ca-bundle.crt"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	if slices.Contains(env, "KUBECONFIG=/mine") {
		t.Error("the user's cluster shows through")
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		component, wanted string
		want              bool
	}{
		{"kubelet@node-a", "kubelet", true},
		{"kubelet@node-a", "kubelet@node-a", true},
		{"kubelet@node-b", "kubelet@node-a", false},
		{"supervisor", "supervisor", true},
		{"kubelet@node-a", "kube", false},
	} {
		if got := matches(c.component, c.wanted); got != c.want {
			t.Errorf("matches(%q, %q) = %t", c.component, c.wanted, got)
		}
	}
}
