package build

import (
	"io/fs"
	"strings"
	"testing"

	"ms2m.dev/ms2m/lab/internal/layout"
)

func TestTemplatesHaveThePinnedVersions(t *testing.T) {
	for module, requirement := range map[string]string{
		"kubernetes": "k8s.io/kubernetes v" + Kubernetes().Version,
		"containerd": "github.com/containerd/containerd/v2 v" + Containerd().Version,
		"etcd":       "go.etcd.io/etcd/server/v3 v" + Etcd().Version,
	} {
		for _, m := range []Module{Kubernetes(), Containerd(), Etcd()} {
			if m.Name != module {
				continue
			}
			mod, err := m.file("go.mod")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(mod), requirement) {
				t.Errorf("go.mod of %s does not require %s", module, requirement)
			}
			sum, err := m.file("go.sum")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(sum), requirement+" h1:") {
				t.Errorf("go.sum of %s has no sum of %s", module, requirement)
			}
		}
	}
}

func TestStagingModulesAreOfTheSameRelease(t *testing.T) {
	mod, err := Kubernetes().file("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	want := "v0" + strings.TrimPrefix(Kubernetes().Version, "1")
	for line := range strings.Lines(string(mod)) {
		if _, version, ok := strings.Cut(line, " => k8s.io/"); ok && !strings.HasSuffix(strings.TrimSpace(version), want) {
			t.Errorf("%s is not %s", strings.TrimSpace(line), want)
		}
	}
}

func TestKeyFollowsTheRecipe(t *testing.T) {
	b := Builder{Cache: layout.Cache{Dir: t.TempDir()}}
	m := Containerd()
	first, err := b.Dir(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	m.Tags += " another"
	second, err := b.Dir(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Errorf("two recipes share %s", first)
	}
}

func TestCRIUIsBuiltOnceAndNamed(t *testing.T) {
	b := Builder{Cache: layout.Cache{Dir: t.TempDir()}}
	first, err := b.CRIU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.CRIU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Errorf("built twice: %s, %s", first, second)
	}
	if left := missing(first, []string{"criu", "compat.so"}); left != nil {
		t.Errorf("missing %v", left)
	}
}

func TestNoRegistryIsNamed(t *testing.T) {
	// What is fetched comes from where the machine's Go and apt fetch.
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		for _, word := range []string{"http://", "https://", "GOPROXY"} {
			if strings.Contains(string(data), word) {
				t.Errorf("%s names %s", path, word)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
