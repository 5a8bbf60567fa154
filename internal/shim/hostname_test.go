package shim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestHostname(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hostname")
	if err := os.WriteFile(file, []byte("cart-0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mounted := specs.Mount{Destination: "/etc/hostname", Source: file}
	for name, tc := range map[string]struct {
		spec specs.Spec
		want string
	}{
		"configured": {specs.Spec{Hostname: "own", Mounts: []specs.Mount{mounted}}, "own"},
		"mounted":    {specs.Spec{Mounts: []specs.Mount{{Destination: "/data", Source: "/x"}, mounted}}, "cart-0"},
		"none":       {specs.Spec{}, ""},
		"missing":    {specs.Spec{Mounts: []specs.Mount{{Destination: "/etc/hostname", Source: "/does/not/exist"}}}, ""},
	} {
		if got := hostname(&tc.spec); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// inNamespace is set in the process that TestSetHostname starts in namespaces of
// its own, where it may set host names whoever runs the test.
const inNamespace = "MS2M_TEST_IN_NAMESPACE"

func TestSetHostname(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		renameChild(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSetHostname$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func renameChild(t *testing.T) {
	before, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "60")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = child.Process.Kill(), child.Wait() }()
	if err := setHostname(child.Process.Pid, "cart-0"); err != nil {
		t.Fatal(err)
	}
	if err := setHostname(os.Getpid(), "evil"); err != nil {
		t.Errorf("a process on the host's network: %v", err)
	}
	if now, _ := os.Hostname(); now != before {
		t.Errorf("the own host name became %q", now)
	}
	if got, err := hostnameOf(child.Process.Pid); err != nil || got != "cart-0" {
		t.Errorf("the child's host name is %q, %v", got, err)
	}
}

// hostnameOf looks from within the namespace of a process.
func hostnameOf(pid int) (string, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/uts", pid))
	if err != nil {
		return "", err
	}
	defer ns.Close()
	type answer struct {
		name string
		err  error
	}
	done := make(chan answer)
	go func() {
		runtime.LockOSThread() // and never unlocked, as in setHostname
		var u unix.Utsname
		err := errors.Join(unix.Setns(int(ns.Fd()), unix.CLONE_NEWUTS), unix.Uname(&u))
		done <- answer{unix.ByteSliceToString(u.Nodename[:]), err}
	}()
	a := <-done
	return a.name, a.err
}
