package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// programs builds two: this one, and one with a replaced module and none.
func programs(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range map[string]string{
		"go.mod":     "module example.org/app\ngo 1.26.0\nrequire example.org/lib v0.0.0\nreplace example.org/lib => ./lib\n",
		"main.go":    "package main\nimport \"example.org/lib\"\nfunc main() { lib.F() }\n",
		"lib/go.mod": "module example.org/lib\ngo 1.26.0\n",
		"lib/lib.go": "package lib\nfunc F() {}\n",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sbom, app := filepath.Join(dir, "sbom"), filepath.Join(dir, "app")
	output(t, "go", "build", "-o", sbom, ".")
	output(t, "go", "-C", dir, "build", "-o", app, ".")
	return []string{sbom, app}
}

// TestModules compares with what go version -m says of the same programs.
func TestModules(t *testing.T) {
	paths := programs(t)
	var out bytes.Buffer
	if err := run(&out, "image", "v1.2.3", "testdata/packages", paths); err != nil {
		t.Fatal(err)
	}
	validate(t, out.Bytes())
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(&out, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if c := bom.Metadata.Component; c.Name != "image" || c.Version != "v1.2.3" || c.Type != cdx.ComponentTypeContainer {
		t.Errorf("it is of %+v", c)
	}
	needs := map[string][]string{}
	for _, d := range *bom.Dependencies {
		needs[d.Ref] = *d.Dependencies
	}
	for _, path := range paths {
		var want []string
		lines := strings.Split(output(t, "go", "version", "-m", path), "\n")
		_, version, _ := strings.Cut(lines[0], ": go")
		want = append(want, "pkg:golang/std@"+version)
		for _, line := range lines[1:] {
			w := strings.Fields(line)
			switch {
			case len(w) >= 3 && w[0] == "dep":
				want = append(want, "pkg:golang/"+w[1]+"@"+w[2])
			case len(w) > 0 && w[0] == "=>": // the directory of the module above
				want[len(want)-1] = "pkg:golang/example.org/lib@v1.2.3"
			}
		}
		slices.Sort(want)
		if len(want) < 2 {
			t.Fatalf("go version -m says nothing of %s", path)
		}
		if got := needs["program:"+filepath.Base(path)]; !slices.Equal(got, want) {
			t.Errorf("%s: it lists\n%s\nand is made of\n%s", path, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	want := []string{"pkg:deb/debian/criu@4.1.1-1?arch=amd64", "pkg:deb/debian/libgmp10@2%3A6.3.0%2Bdfsg-3?arch=amd64", "program:app", "program:sbom"}
	if !slices.Equal(needs["image"], want) {
		t.Errorf("the image has %q", needs["image"])
	}
	for _, c := range *bom.Components {
		if c.BOMRef == "program:app" && !strings.HasPrefix(output(t, "sha256sum", paths[1]), (*c.Hashes)[0].Value) {
			t.Errorf("the digest is %v", *c.Hashes)
		}
	}

	var again bytes.Buffer
	slices.Reverse(paths)
	if err := run(&again, "image", "v1.2.3", "testdata/packages", paths); err != nil {
		t.Fatal(err)
	}
	var other cdx.BOM
	if err := cdx.NewBOMDecoder(&again, cdx.BOMFileFormatJSON).Decode(&other); err != nil {
		t.Fatal(err)
	}
	if a, b := marshal(t, bom), marshal(t, other); a != b {
		t.Errorf("equal inputs, unequal bills:\n%s\n%s", a, b)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// validate holds it against the schema, of which the library has a copy.
func validate(t *testing.T, bom []byte) {
	t.Helper()
	dir := filepath.Join(strings.TrimSpace(output(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go")), "schema")
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(jsonschema.SchemeURLLoader{"http": local(dir)})
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(bom))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
}

// local finds schemas of the web in a directory.
type local string

func (l local) Load(url string) (any, error) {
	name := strings.ReplaceAll(filepath.Base(url), "jsf-0.82.schema.json", "jsf-0.82.schemax.json")
	return jsonschema.FileLoader{}.Load("file://" + filepath.Join(string(l), name))
}

func TestWrongInput(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("criu 4.1.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		version, packages, program, want string
	}{
		{"", "", self, "use: sbom"},
		{"v1", "", bad, bad},
		{"v1", bad, self, `"criu 4.1.1" is not name, version`},
		{"v1", bad + "x", self, "no such file"},
	} {
		if err := run(&bytes.Buffer{}, "image", tc.version, tc.packages, []string{tc.program}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
