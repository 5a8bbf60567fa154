package charts_test

import (
	"strings"
	"testing"
)

// TestValues: the chart's own values are good, and a wrong one is refused by its name.
func TestValues(t *testing.T) {
	if out, err := helm("lint", "--strict", "ms2m"); err != nil {
		t.Errorf("helm lint: %v: %s", err, out)
	}
	for values, want := range map[string]string{
		"kubelet.acess=direct":                                    "at '/kubelet': additional properties 'acess' not allowed",
		"kubelet.access=tunnel":                                   "at '/kubelet/access': value must be one of 'proxy', 'direct'",
		"manager.limits.migrations=-1":                            "at '/manager/limits/migrations'",
		"manager.workers=0":                                       "at '/manager/workers'",
		"registry.caBundle=/etc/ca.crt":                           "at '/registry/caBundle'",
		"agent.image.digest=latest":                               "at '/agent/image/digest'",
		"agent.maxUnavailable=all":                                "at '/agent/maxUnavailable'",
		"uninstall.timeout=180":                                   "at '/uninstall/timeout'",
		"agent.namespace=ms2m-system":                             "set agent.createNamespace=false",
		"uninstall.nodes=forget":                                  "value must be one of 'clean', 'keep'",
		"rbac.aggregateEditorTo=view":                             "at '/rbac/aggregateEditorTo'",
		"manager.image.repository=":                               "at '/manager/image/repository'",
		"agent.hostPaths.kubelet=var/lib":                         "at '/agent/hostPaths/kubelet'",
		"manager.replicas=2,manager.leaderElection.enabled=false": "set manager.leaderElection.enabled=true",
	} {
		if out, err := helm("template", "ms2m", "ms2m", "--namespace", "ms2m-system", "--set", values); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q; want %q", values, err, last(out), want)
		}
	}
}

func last(out []byte) string {
	return string(out[max(0, len(out)-300):])
}
