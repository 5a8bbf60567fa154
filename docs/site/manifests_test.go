package site_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// kinds are those that the docs have manifests of.
var kinds = map[string]func() any{
	"StatefulMigration": func() any { return &v1alpha1.StatefulMigration{} },
	"MigrationPolicy":   func() any { return &v1alpha1.MigrationPolicy{} },
}

// TestManifests: every manifest of ours in the docs and the samples is one, field by field.
func TestManifests(t *testing.T) {
	texts := map[string]string{}
	for _, p := range load(t) {
		for _, b := range blocks(t, p) {
			if b.Lang == "yaml" {
				texts[b.String()] = b.Text
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(repository, "samples", "*", "migration.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	looked := map[string]int{}
	for where, text := range texts {
		for document := range strings.SplitSeq(text, "\n---\n") {
			var kind metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Errorf("%s: %v", where, err)
			}
			empty, ok := kinds[kind.Kind]
			if !ok {
				continue
			}
			looked[kind.Kind]++
			if err := yaml.UnmarshalStrict([]byte(document), empty()); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
	}
	for kind := range kinds {
		if looked[kind] == 0 {
			t.Errorf("no %s", kind)
		}
	}
}

// TestSamplesAreDescribed: whoever looks for a sample finds it.
func TestSamplesAreDescribed(t *testing.T) {
	samples, err := os.ReadDir(filepath.Join(repository, "samples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"README.md", "docs/samples.md"} {
		text, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if !strings.Contains(string(text), "SAMPLE="+s.Name()) && !strings.Contains(string(text), "samples/"+s.Name()+"/") {
				t.Errorf("%s does not name the sample %s", page, s.Name())
			}
		}
	}
}
