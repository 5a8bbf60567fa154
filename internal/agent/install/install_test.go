package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// running is how containerd reports its configuration, as far as it counts here.
const running = `{"containerd":{"defaultRuntimeName":"runc","runtimes":{"runc":{
	"runtimeType":"io.containerd.runc.v2","runtimePath":"","PodAnnotations":null,"ContainerAnnotations":null,
	"options":{"BinaryName":"/usr/sbin/runc","SystemdCgroup":true,"IoUid":0},
	"baseRuntimeSpec":"/etc/containerd/base.json","sandboxer":"podsandbox"}}},"cni":{"binDirs":["/x"]}}`

// fakeContainerd reads its directory of configurations when it is restarted, if
// it imports that.
type fakeContainerd struct {
	t        *testing.T
	status   *Status
	started  time.Time
	restarts int
	imports  string // the file that it imports, "" for none
	err      error
}

func newContainerd(t *testing.T, version string) *fakeContainerd {
	t.Helper()
	status, err := parseStatus(version, running)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeContainerd{t: t, status: status}
}

func (f *fakeContainerd) Status(context.Context) (*Status, error) { return f.status, f.err }
func (f *fakeContainerd) Started() (time.Time, error)             { return f.started, nil }

func (f *fakeContainerd) Restart(context.Context) error {
	f.restarts++
	f.started = time.Now().Add(time.Second)
	if f.imports == "" {
		return nil
	}
	config, err := os.ReadFile(f.imports)
	if err != nil {
		return err
	}
	if string(config) == noHandler {
		delete(f.status.handlers, Handler)
		return nil
	}
	want, err := f.status.handlerFor(filepath.Join(filepath.Dir(f.imports), "own", shimName))
	f.status.handlers[Handler] = want
	return err
}

func newInstaller(t *testing.T, c *fakeContainerd) *Installer {
	t.Helper()
	dir := t.TempDir()
	own := filepath.Join(dir, "own")
	i := &Installer{
		Containerd: c, Log: logr.Discard(), Shim: filepath.Join(t.TempDir(), "shim"), BinDir: own, ConfigDir: dir, CRIUDir: filepath.Join(dir, "criu"),
		Record: filepath.Join(own, "installed.json"), Own: []string{own}, CRIUHome: filepath.Join(dir, "criu"),
	}
	if err := os.Mkdir(i.CRIUDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(i.Shim, []byte("the shim"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.imports = i.configPath()
	return i
}

func TestInstall(t *testing.T) {
	c := newContainerd(t, "v2.4.2")
	i := newInstaller(t, c)
	if err := i.Ready(t.Context()); err == nil {
		t.Error("ready before it is installed")
	}
	for range 2 {
		if err := i.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if c.restarts != 1 {
		t.Errorf("containerd was restarted %d times", c.restarts)
	}
	if err := i.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
	config := read(t, i.configPath())
	for _, line := range []string{
		"version = 3",
		"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.ms2m]",
		"runtime_type = 'io.containerd.runc.v2'",
		"runtime_path = '" + i.shimPath() + "'",
		"pod_annotations = ['migration.ms2m.dev/*']",
		"base_runtime_spec = '/etc/containerd/base.json'",
		"BinaryName = '/usr/sbin/runc'",
		"SystemdCgroup = true",
		"IoUid = 0\n",
	} {
		if !strings.Contains(config, line) {
			t.Errorf("%s misses %q:\n%s", configName, line, config)
		}
	}
	if got := read(t, i.shimPath()); got != "the shim" {
		t.Errorf("shim is %q", got)
	}
	if info, err := os.Stat(i.shimPath()); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the shim can't be started: %v, %v", info.Mode(), err)
	}

	// A new shim needs no restart: containerd starts it anew for every pod.
	if err := os.WriteFile(i.Shim, []byte("a newer shim"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := i.Install(t.Context()); err != nil || c.restarts != 1 || read(t, i.shimPath()) != "a newer shim" {
		t.Errorf("upgrade: %v, %d restarts", err, c.restarts)
	}
}

func TestCrashBeforeTheRestart(t *testing.T) {
	c := newContainerd(t, "v2.4.2")
	i := newInstaller(t, c)
	want, err := c.status.handlerFor(i.shimPath())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.writeHandler(want); err != nil {
		t.Fatal(err)
	}
	if err := i.Install(t.Context()); err != nil || c.restarts != 1 {
		t.Errorf("Install: %v, %d restarts; the handler was written and never read", err, c.restarts)
	}
}

func TestDirectoryIsNotImported(t *testing.T) {
	c := newContainerd(t, "v2.4.2")
	i := newInstaller(t, c)
	c.imports = ""
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := i.Install(ctx); err == nil {
		t.Fatal("installed without a handler")
	}
	for range 3 {
		if err := i.Install(t.Context()); err == nil || !strings.Contains(err.Error(), "import") {
			t.Errorf("Install: %v", err)
		}
	}
	if c.restarts != 1 {
		t.Errorf("containerd was restarted %d times for nothing", c.restarts)
	}
}

func TestOldContainerdIsLeftAlone(t *testing.T) {
	c := newContainerd(t, "1.7.24")
	i := newInstaller(t, c)
	if err := i.Install(t.Context()); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("Install: %v", err)
	}
	if _, err := os.Stat(i.configPath()); !errors.Is(err, os.ErrNotExist) || c.restarts != 0 {
		t.Error("its configuration was touched")
	}
}

func TestNoHandlerToGoBy(t *testing.T) {
	status, err := parseStatus("2.1.0", `{"containerd":{"defaultRuntimeName":"kata","runtimes":{"kata":{"runtimeType":"io.containerd.kata.v2"}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := status.handlerFor("/shim"); err == nil {
		t.Error("a handler was made up")
	}
}

func TestCRIUConfigurationIsMerged(t *testing.T) {
	for before, after := range map[string]string{
		"":                                "tcp-close\nskip-in-flight\n",
		"tcp-close":                       "tcp-close\nskip-in-flight\n",
		"skip-in-flight\n\ttcp-close # x": "skip-in-flight\n\ttcp-close # x",
		"# tcp-close":                     "# tcp-close\ntcp-close\nskip-in-flight\n",
		"ghost-limit 1G\nskip-in-flight":  "ghost-limit 1G\nskip-in-flight\ntcp-close\n",
		"skip-in-flight\ntcp-close\nx\n":  "skip-in-flight\ntcp-close\nx\n",
	} {
		i := newInstaller(t, newContainerd(t, "2.4.2"))
		path := filepath.Join(i.CRIUDir, criuName)
		if before != "" {
			if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.configureCRIU(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != after {
			t.Errorf("%q became %q, want %q", before, got, after)
		}
	}
}

func TestNetworkLock(t *testing.T) {
	for _, c := range []struct{ version, before, after string }{
		{"4.1.1", "", "network-lock skip\n"},
		{"3.19", "tcp-close", "tcp-close\nnetwork-lock skip\n"},
		{"3.17.1", "", ""},
		{"4.1.1", "network-lock=nftables\n", "network-lock=nftables\n"},
		{"", "", ""}, // it can't be asked
		{"off", "", ""},
	} {
		i := newInstaller(t, newContainerd(t, "2.4.2"))
		if c.version != "off" {
			i.CRIUVersion = func(context.Context) (string, error) {
				if c.version == "" {
					return "", errors.New("no criu")
				}
				return c.version, nil
			}
		}
		path := filepath.Join(i.CRIUDir, criuDefaultName)
		if c.before != "" {
			if err := os.WriteFile(path, []byte(c.before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.configureCRIU(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if c.after == "" {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("version %q: %q was written", c.version, got)
			}
		} else if string(got) != c.after {
			t.Errorf("version %q: %q became %q, want %q", c.version, c.before, got, c.after)
		}
	}
}

func TestProcessAge(t *testing.T) {
	// Started 12.34 s after boot, by a process whose name makes parsing hard.
	stat := "42 (cont ) ainerd) S 1 42 42 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 9 0 1234 1000000 500 18446744073709551615"
	got, err := processAge(stat, "20.00 31.00\n")
	if err != nil || got != 7660*time.Millisecond {
		t.Errorf("age is %v, %v", got, err)
	}
	if _, err := processAge("42 (x) S 1", "20.00 31.00\n"); err == nil {
		t.Error("a cut off stat was accepted")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
