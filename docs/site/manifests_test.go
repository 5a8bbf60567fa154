package site_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// TestManifests: every StatefulMigration in the docs and the samples is one, field by field.
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
	looked := 0
	for where, text := range texts {
		if !strings.Contains(text, "kind: StatefulMigration") {
			continue
		}
		looked++
		if err := yaml.UnmarshalStrict([]byte(text), &v1alpha1.StatefulMigration{}); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	if looked < 3 {
		t.Errorf("only %d manifests", looked)
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
