// Package preflight checks what the lab needs before it starts, and says plainly
// what is missing.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/cgroup"
	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/rootfs"
)

const gib = 1 << 30

// What the lab takes of the disk.
const (
	coldDisk = 12 * gib // with Go's caches, which may be on the same disk
	warmDisk = 3 * gib
)

// dependency is a program of the host's that a build needs.
type dependency struct {
	program string   // looked for in the PATH
	file    string   // or a file that must exist
	pkgs    []string // Debian packages that bring it
}

var dependencies = []dependency{
	{program: "mmdebstrap", pkgs: []string{"mmdebstrap", "debian-archive-keyring"}},
	{program: "gpgv", pkgs: []string{"gpgv"}},
	{program: "gcc", pkgs: []string{"gcc"}},
	{file: "/usr/include/stdio.h", pkgs: []string{"libc6-dev"}},
	{file: "/etc/ssl/certs/ca-certificates.crt", pkgs: []string{"ca-certificates"}},
}

func (d dependency) missing() bool {
	if d.file != "" {
		_, err := os.Stat(d.file)
		return err != nil
	}
	_, err := exec.LookPath(d.program)
	return err != nil
}

func missing() []string {
	var pkgs []string
	for _, d := range dependencies {
		if d.missing() {
			pkgs = append(pkgs, d.pkgs...)
		}
	}
	return pkgs
}

// Deps prints the missing packages, or installs them.
func Deps(ctx context.Context, install bool, out io.Writer) error {
	pkgs := missing()
	switch {
	case len(pkgs) == 0:
		fmt.Fprintln(out, "nothing is missing")
		return nil
	case !install:
		return fmt.Errorf("missing Debian packages: %s (`lab deps --install` installs them)", strings.Join(pkgs, " "))
	}
	for _, args := range [][]string{
		{"update"},
		append([]string{"install", "--yes", "--no-install-recommends"}, pkgs...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("apt-get %s (as root, on Debian): %w", args[0], err)
		}
	}
	return nil
}

// Build checks what building needs.
func Build(cache layout.Cache) error {
	return errors.Join(platform(), root(), tools(cache), disk(cache))
}

// Lab checks what bringing a lab up needs.
func Lab(cache layout.Cache, state layout.State, nodes int) error {
	_, cgroups := cgroup.Discover("preflight")
	return errors.Join(Build(cache), cgroups, overlay(state), watchers(watchersOfControlPlane+nodes*watchersOfNode))
}

// How many watchers of inotify a lab has, and some for what runs in it.
const (
	watchersOfControlPlane = 6
	watchersOfNode         = 16
)

// watchers checks that the kernel grants so many watchers to root, which shares them
// with whatever else it runs. Without, kubelets and agents end one after the other, each with
// "too many open files", which sends everybody to the wrong limit.
func watchers(n int) error {
	for have := range n {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if errors.Is(err, unix.EMFILE) {
			return fmt.Errorf("the kernel grants %d more watchers of inotify to root, and this lab needs %d: take another lab down, or raise the bound (sysctl -w fs.inotify.max_user_instances=512)", have, n)
		}
		if err != nil {
			return fmt.Errorf("make a watcher of inotify: %w", err)
		}
		defer unix.Close(fd)
	}
	return nil
}

// Broker checks what a private broker needs.
func Broker(cache layout.Cache) error { return errors.Join(platform(), root(), tools(cache)) }

func platform() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("the lab runs on Linux on x86-64 only, not on %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

// root checks for the rights of root, which a container's root may lack.
func root() error {
	const why = "the lab makes namespaces, mounts, cgroups and networks"
	if os.Geteuid() != 0 {
		return errors.New(why + ": run it as root")
	}
	var data [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return fmt.Errorf("read this process's capabilities: %w", err)
	}
	for name, bit := range map[string]int{"CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE} {
		if data[bit/32].Effective&(1<<(bit%32)) == 0 {
			return fmt.Errorf("%s, which takes %s: this root does not have it (is this a container?)", why, name)
		}
	}
	return nil
}

// tools checks for the programs that the first build needs. A cache that has been
// filled elsewhere does not need them.
func tools(cache layout.Cache) error {
	var errs []error
	if _, err := exec.LookPath("go"); err != nil {
		errs = append(errs, errors.New("there is no go command in the PATH: the lab builds Kubernetes with it"))
	}
	if _, err := os.Stat(rootfs.Dir(cache)); err == nil {
		return errors.Join(errs...)
	}
	if pkgs := missing(); len(pkgs) > 0 {
		errs = append(errs, fmt.Errorf("missing Debian packages: %s (`lab deps --install` installs them)", strings.Join(pkgs, " ")))
	}
	return errors.Join(errs...)
}

func disk(cache layout.Cache) error {
	need := uint64(warmDisk)
	if _, err := os.Stat(rootfs.Dir(cache)); err != nil {
		need = coldDisk
	}
	var st unix.Statfs_t
	dir := existing(cache.Dir)
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return fmt.Errorf("%s has %.1f GiB of free disk, the lab needs %d GiB (MS2M_CACHE can name another place)", dir, float64(free)/gib, need/gib)
	}
	return nil
}

// overlay checks that the state directory can hold the upper part of an overlay.
func overlay(state layout.State) error {
	var st unix.Statfs_t
	dir := existing(state.Dir)
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is on an overlay, over which no other can be laid: let MS2M_LAB_DIR name a directory on a disk", dir)
	}
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("read the kernel's file systems: %w", err)
	}
	if !strings.Contains(string(data), "\toverlay\n") {
		// It may be a module that isn't loaded yet.
		if err := exec.Command("modprobe", "overlay").Run(); err != nil {
			return fmt.Errorf("the kernel has no overlay file system: %w", err)
		}
	}
	return nil
}

// existing is the nearest directory above that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
