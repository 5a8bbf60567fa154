package charts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGKE renders the chart with what docs/clusters/gke.sh sets, as its dry run says.
func TestGKE(t *testing.T) {
	said, err := os.ReadFile("../test/scripts/testdata/gke-install.txt")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^\+ helm upgrade --install ms2m .*$`).FindString(string(said))
	args := regexp.MustCompile(`--set(?:-string)? \S+`).FindAllString(strings.ReplaceAll(line, `\`, ""), -1)
	if len(args) != 3 {
		t.Fatalf("it sets %q", args)
	}
	manifests := string(render(t, strings.Fields(strings.Join(args, " "))...))
	for _, want := range []string{
		"image: europe-west3-docker.pkg.dev/my-project/ms2m/manager:v1.2.3",
		"image: europe-west3-docker.pkg.dev/my-project/ms2m/node-agent:v1.2.3",
		`- "--import-config"`,
		"kind: ResourceQuota",
	} {
		if !strings.Contains(manifests, want) {
			t.Errorf("%s is not in what is installed", want)
		}
	}
}

// TestK3s renders it with the values in docs/clusters/k3s.md.
func TestK3s(t *testing.T) {
	page, err := os.ReadFile("../docs/clusters/k3s.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatal("it has no values")
	}
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, found[1], 0o644); err != nil {
		t.Fatal(err)
	}
	manifests := string(render(t, "--values", values))
	for _, want := range []string{
		"--containerd-restart=signal",
		"hostPath: {path: /run/k3s/containerd, type: Directory}",
		"hostPath: {path: /var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d, type: DirectoryOrCreate}",
	} {
		if !strings.Contains(manifests, want) {
			t.Errorf("%s is not in what is installed", want)
		}
	}
}
