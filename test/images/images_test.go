package images

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const tag = "v1.2.3-test"

// build runs hack/images.sh as a person would, but for the bases.
func (s *store) build(platforms string, images ...string) {
	s.t.Helper()
	args := []string{"--tag", tag, "--platforms", platforms,
		"--build-arg", "GO=" + debian, "--build-arg", "DEBIAN=" + debian, "--build-arg", "STATIC=" + static, "--build-arg", "GOFLAGS="}
	for _, kv := range s.caches {
		args = append(args, "--build-arg", kv)
	}
	command(s.t, s.env, filepath.Join(root, "hack/images.sh"), append(args, images...)...)
}

// config is what counts of an image's configuration.
type config struct {
	User       string
	Entrypoint []string
	Labels     map[string]string
}

func (s *store) config(id string) (c config) {
	s.t.Helper()
	var out struct{ OCIv1 struct{ Config config } }
	if err := json.Unmarshal([]byte(s.buildah("inspect", id)), &out); err != nil {
		s.t.Fatal(err)
	}
	return out.OCIv1.Config
}

// programs are the files of an image that can be executed, but those below the
// given directory.
func programs(t *testing.T, dir, except string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == except {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestImages(t *testing.T) {
	s := newStore(t)
	s.bases()
	t.Run("this platform", func(t *testing.T) { s.on(t).testImages() })
	t.Run("platforms", func(t *testing.T) { s.on(t).testPlatforms() })
}

func (s *store) testImages() {
	t := s.t
	revision := strings.TrimSpace(command(t, nil, "git", "rev-parse", "HEAD"))
	s.build("linux/amd64", "manager", "node-agent")

	for name, want := range map[string]struct {
		user     string
		programs []string
	}{
		"manager":    {"65532:65532", []string{"manager"}},
		"node-agent": {"0:0", []string{"containerd-shim-ms2m-v1", "node-agent"}},
	} {
		id, dir := s.container("localhost/ms2m/" + name + ":" + tag)
		c := s.config(id)
		if c.User != want.user || !reflect.DeepEqual(c.Entrypoint, []string{"/" + name}) {
			t.Errorf("%s: user %q, entrypoint %q", name, c.User, c.Entrypoint)
		}
		for _, l := range []struct{ label, want string }{
			{"version", tag}, {"revision", revision}, {"source", "https://ms2m.dev/ms2m"},
		} {
			if got := c.Labels["org.opencontainers.image."+l.label]; got != l.want {
				t.Errorf("%s: label %s is %q, want %q (of %q)", name, l.label, got, l.want, slices.Sorted(maps.Keys(c.Labels)))
			}
		}
		// No shell, and nothing else that helps an intruder along.
		if got := programs(t, dir, "criu"); !slices.Equal(got, want.programs) {
			t.Errorf("%s has the programs %q", name, got)
		}
		if got, want := s.buildah("run", id, "--", "/"+name, "--version"), name+" "+tag+" (commit "+revision+", go"; !strings.HasPrefix(got, want) {
			t.Errorf("%s says it is %q, want %q", name, got, want)
		}
		bill := s.bill(dir)
		for _, program := range want.programs {
			if got, want := bill["program:"+program], modules(t, filepath.Join(dir, program)); !slices.Equal(got, want) {
				t.Errorf("%s: the bill of materials has of %s\n%q, want\n%q", name, program, got, want)
			}
		}
		if name == "node-agent" {
			if got := slices.IndexFunc(bill["image"], func(ref string) bool { return strings.HasPrefix(ref, "pkg:deb/debian/criu@") }); got < 0 {
				t.Errorf("the bill of materials has no CRIU: %q", bill["image"])
			}
			s.criu(id, dir)
		}
	}
}

// bill reads what each part of an image needs, by its bill of materials.
func (s *store) bill(dir string) map[string][]string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "sbom.cdx.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var bom struct {
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(data, &bom); err != nil {
		s.t.Fatal(err)
	}
	needs := map[string][]string{}
	for _, d := range bom.Dependencies {
		needs[d.Ref] = d.DependsOn
	}
	return needs
}

// modules are those that a program says it is linked from.
func modules(t *testing.T, path string) []string {
	t.Helper()
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, m := range info.Deps {
		version := m.Version
		if m.Replace != nil {
			version = tag // a directory of this repository
		}
		found = append(found, "pkg:golang/"+m.Path+"@"+url.PathEscape(version))
	}
	slices.Sort(found)
	return found
}

// criu checks that the agent's image has a CRIU that needs nothing of the node.
func (s *store) criu(id, dir string) {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "criu/*/criu"))
	if err != nil || len(found) != 1 {
		s.t.Fatalf("CRIU: %q, %v", found, err)
	}
	home := strings.TrimPrefix(filepath.Dir(found[0]), dir)
	version := filepath.Base(home)
	if got, want := interpreter(s.t, found[0]), "/opt/ms2m"+home+"/lib/ld-linux-x86-64.so.2"; got != want {
		s.t.Errorf("CRIU's loader is %s, want %s", got, want)
	}
	// On the node it is where that loader is; here it is named.
	got := s.buildah("run", id, "--", home+"/lib/ld-linux-x86-64.so.2", home+"/criu", "--version")
	if upstream, _, _ := strings.Cut(version, "-"); got != "Version: "+upstream {
		s.t.Errorf("CRIU %s says: %s", version, got)
	}
	packages, err := os.ReadFile(filepath.Join(dir, home, "packages"))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(packages)) {
		fields := strings.Fields(line)
		if len(fields) != 5 {
			s.t.Fatalf("packages: %q", line)
		}
		if _, err := os.Stat(filepath.Join(dir, home, "copyright", fields[0])); err != nil {
			s.t.Errorf("the licence of %s: %v", fields[0], err)
		}
	}
	if !strings.HasPrefix(string(packages), "criu "+version+" ") || !strings.Contains(string(packages), "\nlibc6 ") {
		s.t.Errorf("packages:\n%s", packages)
	}
}

func interpreter(t *testing.T, path string) string {
	t.Helper()
	section := open(t, path).Section(".interp")
	if section == nil {
		t.Fatalf("%s names no loader", path)
	}
	data, err := section.Data()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(data), "\x00")
}

// testPlatforms builds the smallest image, and CRIU, for another platform than
// this one: nothing of that can be run here.
func (s *store) testPlatforms() {
	t := s.t
	s.build("linux/amd64,linux/arm64", "counter")
	var list struct {
		Manifests []struct {
			Digest   string
			Platform struct{ Architecture string }
		}
	}
	if err := json.Unmarshal([]byte(s.buildah("manifest", "inspect", "localhost/ms2m/counter:"+tag)), &list); err != nil {
		t.Fatal(err)
	}
	machines := map[string]elf.Machine{}
	for _, m := range list.Manifests {
		_, dir := s.container("localhost/ms2m/counter@" + m.Digest)
		machines[m.Platform.Architecture] = machine(t, filepath.Join(dir, "example"))
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}; !maps.Equal(machines, want) {
		t.Errorf("platforms %v, want %v", machines, want)
	}

	s.buildah("build", "--platform", "linux/arm64", "--build-arg", "BUILDPLATFORM=linux/amd64", "--build-arg", "DEBIAN="+debian,
		"--target", "criu", "--tag", "localhost/criu", "--file", filepath.Join(root, "build/Dockerfile"), root)
	_, dir := s.container("localhost/criu")
	files, err := filepath.Glob(filepath.Join(dir, "out/*/lib/*.so*"))
	if err != nil || len(files) < 10 {
		t.Fatalf("CRIU's libraries: %q, %v", files, err)
	}
	programs, err := filepath.Glob(filepath.Join(dir, "out/*/criu"))
	if err != nil || len(programs) != 1 {
		t.Fatalf("CRIU: %q, %v", programs, err)
	}
	for _, f := range append(files, programs...) {
		if m := machine(t, f); m != elf.EM_AARCH64 {
			t.Errorf("%s is of %s", f, m)
		}
	}
}

func machine(t *testing.T, path string) elf.Machine {
	t.Helper()
	return open(t, path).Machine
}

func open(t *testing.T, path string) *elf.File {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}
