package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// newCRIU is an image with a CRIU and a node without.
func newCRIU(t *testing.T, version string) *CRIU {
	t.Helper()
	c := &CRIU{Source: filepath.Join(t.TempDir(), "criu"), Root: t.TempDir(), Log: logr.Discard(), Path: func() ([]string, error) { return filepath.SplitList(usualPath), nil }}
	c.Home = filepath.Join(c.Root, "opt/ms2m/criu")
	carry(t, c, version)
	return c
}

// carry puts a version into the image in place of what is there.
func carry(t *testing.T, c *CRIU, version string) {
	t.Helper()
	if err := os.RemoveAll(c.Source); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(c.Source, version, "criu"), "criu "+version, 0o755)
	put(t, filepath.Join(c.Source, version, "lib/libc.so.6"), "libc of "+version, 0o644)
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func (c *CRIU) linkOf(t *testing.T, name string) string {
	t.Helper()
	target, err := os.Readlink(filepath.Join(c.Root, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return target
}

func TestCRIUIsInstalledWhereThereIsNone(t *testing.T) {
	c := newCRIU(t, "4.1.1-1")
	program := filepath.Join(c.Home, "4.1.1-1/criu")
	var first os.FileInfo
	for i := range 2 {
		if err := c.install(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(program)
		if err != nil || info.Mode().Perm() != 0o755 || read(t, program) != "criu 4.1.1-1" {
			t.Fatalf("%s: %v, %v", program, info, err)
		}
		if i == 1 && !os.SameFile(first, info) {
			t.Error("what is the same was written anew")
		}
		first = info
	}
	if got := read(t, filepath.Join(c.Home, "4.1.1-1/lib/libc.so.6")); got != "libc of 4.1.1-1" {
		t.Errorf("the library is %q", got)
	}
	if got := c.linkOf(t, "/usr/local/sbin/criu"); got != program {
		t.Errorf("the link leads to %q, want %q", got, program)
	}

	carry(t, c, "4.2-1")
	if err := c.install(); err != nil {
		t.Fatal(err)
	}
	if got := c.linkOf(t, "/usr/local/sbin/criu"); got != filepath.Join(c.Home, "4.2-1/criu") {
		t.Errorf("after an upgrade the link leads to %q", got)
	}
	if entries, err := os.ReadDir(c.Home); err != nil || len(entries) != 1 {
		t.Errorf("after an upgrade there are %v, %v", entries, err)
	}

	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Home); !errors.Is(err, os.ErrNotExist) || c.linkOf(t, "/usr/local/sbin/criu") != "" {
		t.Errorf("something is left: %v", err)
	}
	if err := c.Remove(); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

func TestTheNodesOwnCRIUCounts(t *testing.T) {
	for _, own := range []string{"/usr/sbin/criu", "/usr/local/sbin/criu", "/usr/local/bin/criu"} {
		c := newCRIU(t, "4.1.1-1")
		put(t, filepath.Join(c.Root, own), "the node's", 0o755)
		if err := c.install(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(c.Home); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there, and ours was installed: %v", own, err)
		}
		if err := c.Remove(); err != nil || read(t, filepath.Join(c.Root, own)) != "the node's" {
			t.Errorf("%s was removed: %v", own, err)
		}
	}

	// A link of the node's, as of its alternatives, that leads nowhere from here.
	c := newCRIU(t, "4.1.1-1")
	put(t, filepath.Join(c.Root, "usr/sbin/other"), "", 0o644)
	if err := os.Symlink("/etc/alternatives/criu", filepath.Join(c.Root, "usr/sbin/criu")); err != nil {
		t.Fatal(err)
	}
	if err := c.install(); err != nil || c.linkOf(t, "/usr/local/sbin/criu") != "" {
		t.Errorf("a link of the node's was passed over: %v", err)
	}
}

// Ours comes first in PATH: it would hide what an administrator has installed since.
func TestOursGivesWayToTheNodesOwn(t *testing.T) {
	c := newCRIU(t, "4.1.1-1")
	if err := c.install(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(c.Root, "usr/sbin/criu"), "the node's", 0o755)
	if err := c.install(); err != nil {
		t.Fatal(err)
	}
	if c.linkOf(t, "/usr/local/sbin/criu") != "" {
		t.Error("ours is still first")
	}
}

func TestCRIUCannotBeInstalled(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*CRIU)
		want   string
	}{
		"containerd looks elsewhere": {func(c *CRIU) {
			c.Path = func() ([]string, error) { return []string{"/usr/bin", "/bin"}, nil }
		}, "looks for one in /usr/bin:/bin only"},
		"the image has none":    {func(c *CRIU) { c.Source = "/nowhere" }, "install the package criu on the node"},
		"containerd is unknown": {func(c *CRIU) { c.Path = func() ([]string, error) { return nil, errors.New("gone") } }, "gone"},
		"it can't be written": {func(c *CRIU) {
			// A file where the directory should be: even root can't write there.
			put(t, filepath.Join(c.Root, "usr/local"), "", 0o644)
		}, "usr/local"},
	} {
		c := newCRIU(t, "4.1.1-1")
		tc.change(c)
		if err := c.install(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutCRIUNoHandler(t *testing.T) {
	c := newContainerd(t, "v2.4.2")
	i := newInstaller(t, c)
	i.CRIU = newCRIU(t, "4.1.1-1")
	i.CRIU.Source = "/nowhere"
	if err := i.Install(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "install CRIU: ") {
		t.Errorf("Install: %v", err)
	}
	if err := i.Ready(t.Context()); err == nil {
		t.Error("a node that can't restore is ready to")
	}
	i.CRIU = newCRIU(t, "4.1.1-1")
	if err := i.Install(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSearchPath(t *testing.T) {
	if got := strings.Join(searchPath("LANG=C\x00PATH=/a:/b\x00X=PATH=/c\x00"), " "); got != "/a /b" {
		t.Errorf("%q", got)
	}
	if got := searchPath("NOPATH=/a\x00"); got != nil {
		t.Errorf("%q", got)
	}
}
