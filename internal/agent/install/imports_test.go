package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const pattern = "/etc/containerd/conf.d/*.toml"

func TestImport(t *testing.T) {
	const rest = "\n[plugins.'io.containerd.cri.v1.runtime']\n  x = ['imports = [\"a\"]']\n"
	for name, tc := range map[string]struct{ before, after string }{
		"none":               {"version = 2" + rest, `imports = ["/etc/containerd/conf.d/*.toml"]` + lineMark + "\nversion = 2" + rest},
		"an empty file":      {"", `imports = ["/etc/containerd/conf.d/*.toml"]` + lineMark + "\n"},
		"an empty list":      {"imports = []\nversion = 3" + rest, `imports = ["/etc/containerd/conf.d/*.toml"]` + entryMark + "\nversion = 3" + rest},
		"another":            {"version = 3\nimports = ['/etc/other.toml']" + rest, "version = 3\nimports = ['/etc/other.toml', \"/etc/containerd/conf.d/*.toml\"]" + entryMark + rest},
		"it is there":        {"imports = [\"/etc/other.toml\", \"/etc/containerd/conf.d/*.toml\"]" + rest, ""},
		"there, many lines":  {"imports = [\n  \"/etc/containerd/conf.d/*.toml\",\n]" + rest, ""},
		"there, not cleaned": {"imports = [\"/etc/containerd/conf.d//*.toml\"]" + rest, ""},
	} {
		m := Import{Config: filepath.Join(t.TempDir(), "config.toml"), Pattern: pattern}
		put(t, m.Config, tc.before, 0o640)
		for i := range 2 {
			added, err := m.add()
			if err != nil || added != (i == 0 && tc.after != "") {
				t.Errorf("%s: %v, %v", name, added, err)
			}
		}
		if tc.after != "" && read(t, m.Config) != tc.after {
			t.Errorf("%s became\n%s", name, read(t, m.Config))
		}
		if info, err := os.Stat(m.Config); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		for range 2 {
			if err := m.Remove(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := read(t, m.Config); got != tc.before {
			t.Errorf("%s: after the removal it is\n%s", name, got)
		}
	}
}

func TestImportIsLeftToItsAuthor(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"a list of many lines": {"imports = [\n  '/etc/other.toml',\n]\n", "by hand"},
		"a list with a ]":      {"imports = ['/etc/[a-z].toml']\n", "by hand"},
		"not TOML":             {"imports = [", "config.toml"},
		"a table of that name": {"[imports]\nx = 1\n", "config.toml"},
	} {
		m := Import{Config: filepath.Join(t.TempDir(), "config.toml"), Pattern: pattern}
		put(t, m.Config, tc.config, 0o644)
		if added, err := m.add(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v", name, added, err)
		}
		if got := read(t, m.Config); got != tc.config {
			t.Errorf("%s: it became\n%s", name, got)
		}
	}
	if _, err := (Import{Config: filepath.Join(t.TempDir(), "none.toml"), Pattern: pattern}).add(); err == nil {
		t.Error("a configuration that is not there was changed")
	}
}

func TestConfigFlag(t *testing.T) {
	for cmdline, want := range map[string]string{
		"/usr/bin/containerd\x00":                              "/etc/containerd/config.toml",
		"containerd\x00-c\x00/a.toml\x00-a\x00/run/x.sock\x00": "/a.toml",
		"containerd\x00--config\x00/a.toml\x00":                "/a.toml",
		"containerd\x00--config=/a.toml\x00":                   "/a.toml",
		"containerd\x00-l\x00debug\x00-c=/a.toml\x00":          "/a.toml",
		"containerd\x00config\x00dump\x00":                     "/etc/containerd/config.toml",
	} {
		if got := configFlag(cmdline); got != want {
			t.Errorf("%q: %s, want %s", cmdline, got, want)
		}
	}
}

// A containerd that does not import the directory does so after one restart.
func TestInstallImports(t *testing.T) {
	c := newContainerd(t, "v2.0.0")
	i := newInstaller(t, c)
	config := filepath.Join(t.TempDir(), "config.toml")
	put(t, config, "version = 3\n", 0o644)
	i.Import = func() (Import, error) { return Import{Config: config, Pattern: pattern}, nil }
	// Its handler was written before and it was started since: only the import is missing.
	want, err := c.status.handlerFor(i.shimPath())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.writeHandler(want); err != nil {
		t.Fatal(err)
	}
	c.started = time.Now()
	for range 2 {
		if err := i.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if c.restarts != 1 || !strings.Contains(read(t, config), pattern) {
		t.Errorf("%d restarts, configuration\n%s", c.restarts, read(t, config))
	}
	find := i.Import
	i.Import = func() (Import, error) { return Import{}, errors.New("not to be asked") }
	if err := i.Install(t.Context()); err != nil {
		t.Errorf("what is there is looked for again: %v", err)
	}
	i.Import = find
	c.started = time.Now().Add(-time.Hour)
	if err := i.Remove(t.Context()); err != nil || read(t, config) != "version = 3\n" {
		t.Errorf("after the removal: %v, configuration\n%s", err, read(t, config))
	}
}
