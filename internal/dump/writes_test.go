package dump_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/internal/dump"
)

// envRole makes this program, started in an overlay, the first process of a container.
const envRole = "MS2M_DUMP_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		contained(role)
		return
	}
	os.Exit(m.Run())
}

// contained opens or maps a file and waits for its input to end.
func contained(role string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	flag := os.O_RDWR
	if role == "reads" {
		flag = os.O_RDONLY
	}
	if role != "idle" {
		f, err := os.OpenFile("/file", flag, 0)
		must(err)
		switch role {
		case "maps":
			_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(err)
			must(f.Close())
		case "private":
			_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
			must(err)
			must(f.Close())
		}
		defer f.Close()
	}
	_, err := os.Stdout.WriteString("ready\n")
	must(err)
	_, err = os.Stdin.Read(make([]byte, 1))
	_ = err // the end of the test
}

// TestWrites starts real processes on an overlay, as a container's.
func TestWrites(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("mounting takes root, as make test has it")
	}
	for role, want := range map[string]string{
		"idle":    "",
		"reads":   "",
		"private": "",
		"opens":   "/file is open for writing",
		"maps":    "/file is mapped shared and writable",
	} {
		t.Run(role, func(t *testing.T) {
			upper, pid := container(t, role)
			if got, err := dump.Upper("/proc", pid); err != nil || got != upper {
				t.Errorf("writable layer %q, %v; want %q", got, err, upper)
			}
			if why, err := dump.Writes("/proc", pid); err != nil || (why == "") != (want == "") || !strings.HasSuffix(why, want) {
				t.Errorf("%q, %v; want %q", why, err, want)
			}
		})
	}
}

// container runs this program in a root of its own: an overlay in which the file
// /file was written.
func container(t *testing.T, role string) (upper string, pid int) {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"lower", "upper", "work", "root"} {
		if err := os.Mkdir(path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("lower/test"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("upper/file"), make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	options := "lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("work")
	if err := unix.Mount("overlay", path("root"), "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path("root"), 0); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command("/test")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: path("root"), Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL,
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the container's process: %v", err)
		}
	})
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || string(line[:n]) != "ready\n" {
		t.Fatalf("the container's process said %q, %v", line[:n], err)
	}
	return path("upper"), cmd.Process.Pid
}
