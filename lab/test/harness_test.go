// Package test brings real labs up and down. The tests need what the lab needs
// (`lab deps`), and fail, saying what is missing, where it isn't there.
package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/spec"
)

var labBinary, podBinary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ms2m-lab-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	labBinary, podBinary = filepath.Join(dir, "lab"), filepath.Join(dir, "pod")
	for binary, pkg := range map[string]string{labBinary: "../cmd/lab", podBinary: "./testdata/pod"} {
		cmd := exec.Command("go", "build", "-o", binary, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return m.Run()
}

// lab is a lab of the test's own.
type lab struct {
	*testing.T
	state layout.State
}

// newLab returns a lab that is not up yet; it is taken down when the test ends.
func newLab(t *testing.T) lab {
	t.Helper()
	l := lab{t, layout.State{Dir: t.TempDir()}}
	t.Cleanup(func() {
		if t.Failed() {
			l.showLogs()
		}
		if out, err := l.command("down").CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	return l
}

func (l lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(labBinary, args...)
	cmd.Env = append(os.Environ(), "MS2M_LAB_DIR="+l.state.Dir)
	return cmd
}

// must runs the lab with the arguments and returns what it prints.
func (l lab) must(args ...string) string {
	l.Helper()
	start := time.Now()
	cmd := l.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		l.Fatalf("lab %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	l.Logf("lab %s: %s", strings.Join(args, " "), time.Since(start).Round(10*time.Millisecond))
	return stdout.String()
}

// status runs the lab and returns its exit status.
func (l lab) status(args ...string) int {
	l.Helper()
	err := l.command(args...).Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.Fatal(err)
	}
	if exit != nil {
		return exit.ExitCode()
	}
	return 0
}

// eventually tries until it works, within a minute.
func (l lab) eventually(what string, try func() error) {
	l.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// runPod runs a pod on the node and waits until it counts.
func (l lab) runPod(name, node string) {
	l.Helper()
	ref := l.must("load-image", "pod:1", "--binary", podBinary, "--user", "65532")
	overrides, err := json.Marshal(map[string]any{"spec": map[string]any{"nodeName": node, "terminationGracePeriodSeconds": 1}})
	if err != nil {
		l.Fatal(err)
	}
	l.must("kubectl", "run", name, "--image="+strings.TrimSpace(ref), "--overrides="+string(overrides))
	l.eventually("pod "+name, func() error {
		out, err := l.command("kubectl", "logs", name).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if !bytes.Contains(out, []byte("count: 5\n")) {
			return fmt.Errorf("it printed %q", out)
		}
		return nil
	})
}

// checkGone looks by itself, without the lab, for what could be left.
func (l lab) checkGone() {
	l.Helper()
	id := spec.ID(l.state)
	for _, top := range []string{"/sys/fs/cgroup"} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == id {
				l.Errorf("cgroup %s is left", path)
			}
			return nil
		})
		if err != nil {
			l.Error(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		l.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(l.state.Dir)) {
		l.Errorf("mounts are left:\n%s", mounts)
	}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		l.Fatal(err)
	}
	for _, p := range procs {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil {
			continue // ended meanwhile
		}
		info, err := os.ReadFile(filepath.Join(p, "mountinfo"))
		if err == nil && bytes.Contains(info, []byte(l.state.Dir)) || bytes.Contains(line, []byte(l.state.Dir)) {
			l.Errorf("process %s (%q) is left", filepath.Base(p), line)
		}
	}
	for _, path := range []string{l.state.Machines(), l.state.PKI(), l.state.Kubeconfig(), l.state.Spec()} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			l.Errorf("%s is left (%v)", path, err)
		}
	}
}

func (l lab) showLogs() {
	logs, err := filepath.Glob(filepath.Join(l.state.Logs(), "*", "*.log"))
	if err != nil {
		l.Log(err)
	}
	for _, path := range append(logs, filepath.Join(l.state.Logs(), "supervisor.log")) {
		data, err := os.ReadFile(path)
		if err != nil {
			l.Log(err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		l.Logf("%s:\n%s", path, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}
