// Package mount mounts what makes up a machine's view of its files.
package mount

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mounter mounts one thing after the other. After an error it does nothing more.
type Mounter struct{ Err error }

// Mount is mount(2).
func (m *Mounter) Mount(source, target, kind string, flags uintptr, data string) {
	if m.Err != nil {
		return
	}
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		m.Err = fmt.Errorf("mount %s %s on %s: %w", kind, source, target, err)
	}
}

// Dir makes a directory to mount on.
func (m *Mounter) Dir(path string) string {
	if m.Err == nil {
		if err := os.MkdirAll(path, 0o755); err != nil {
			m.Err = fmt.Errorf("make a mount point: %w", err)
		}
	}
	return path
}

// Bind shows the directory or file at target.
func (m *Mounter) Bind(source, target string) {
	m.Mount(source, target, "", unix.MS_BIND, "")
}

// BindReadOnly is Bind without the right to write.
func (m *Mounter) BindReadOnly(source, target string) {
	m.Bind(source, target)
	m.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// FS mounts a file system that needs no device.
func (m *Mounter) FS(kind, target, data string) {
	m.Mount(kind, m.Dir(target), kind, 0, data)
}

// Propagate sets how mounts below target spread.
func (m *Mounter) Propagate(target string, flags uintptr) {
	m.Mount("", target, "", unix.MS_REC|flags, "")
}

// File writes a file.
func (m *Mounter) File(path string, data []byte) {
	if m.Err != nil {
		return
	}
	m.Dir(filepath.Dir(path))
	if m.Err != nil {
		return
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		m.Err = fmt.Errorf("write the machine's files: %w", err)
	}
}

// Pivot makes root the root of the mount namespace and drops the old one.
func (m *Mounter) Pivot(root string) {
	if m.Err != nil {
		return
	}
	if err := unix.Chdir(root); err != nil {
		m.Err = fmt.Errorf("enter the machine's root: %w", err)
		return
	}
	// With both the same, the old root ends up over the new one, and can be
	// unmounted right there.
	if err := unix.PivotRoot(".", "."); err != nil {
		m.Err = fmt.Errorf("make the machine's root the root: %w", err)
		return
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		m.Err = fmt.Errorf("drop the host's root: %w", err)
		return
	}
	if err := unix.Chdir("/"); err != nil {
		m.Err = fmt.Errorf("enter the machine's root: %w", err)
	}
}

// Overlay lays upper over lower, which stays as it is, and shows both at target.
func (m *Mounter) Overlay(lower, upper, work, target string) {
	m.Mount("overlay", target, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work)
}

// System mounts what every root needs below it: the kernel's own file systems,
// devices, and empty places for what is temporary.
func (m *Mounter) System(root string) {
	in := func(path string) string { return filepath.Join(root, path) }
	m.FS("proc", in("proc"), "")
	m.FS("sysfs", in("sys"), "")
	m.Bind("/dev", in("dev"))
	m.FS("tmpfs", in("dev/shm"), "mode=1777")
	m.FS("devpts", in("dev/pts"), "newinstance,ptmxmode=0666,mode=620,gid=5")
	m.FS("tmpfs", in("run"), "mode=755")
	m.FS("tmpfs", in("tmp"), "mode=1777")
	m.Dir(in("run/lock"))
}
