package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/mount"
)

// privateEnv is the environment in a private broker's root.
var privateEnv = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + dataDir}

// RunInside is process 1 of a private broker: it makes the root, starts the
// server, and ends when the server does.
func RunInside(arg string) error {
	var c config
	if err := json.Unmarshal([]byte(arg), &c); err != nil {
		return fmt.Errorf("read the broker's configuration: %w", err)
	}
	if err := enterRoot(c); err != nil {
		return err
	}
	os.Clearenv()
	for _, kv := range privateEnv {
		key, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(key, value); err != nil {
			return fmt.Errorf("set the environment: %w", err)
		}
	}
	credential, err := c.Server.Prepare()
	if err != nil {
		return err
	}
	cmd := exec.Command(Command[0], Command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	// As process 1, also collect what the server leaves behind.
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the server: %w", err)
		case pid == cmd.Process.Pid:
			return fmt.Errorf("the server ended with status %d", status.ExitStatus())
		}
	}
}

// enterRoot lays the broker's own files over the common root, in memory.
func enterRoot(c config) error {
	var m mount.Mounter
	m.Propagate("/", unix.MS_PRIVATE)
	// Opened before anything is mounted that could hide it.
	data := -1
	if c.Data != "" {
		fd, err := unix.OpenTree(unix.AT_FDCWD, c.Data, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("open the broker's data directory: %w", err)
		}
		data = fd
	}
	// An empty directory that is always there. Only this mount namespace sees what
	// is mounted on it.
	scratch := filepath.Join(c.Rootfs, "mnt")
	m.FS("tmpfs", scratch, "mode=755")
	root := m.Dir(filepath.Join(scratch, "root"))
	m.Overlay(c.Rootfs, m.Dir(filepath.Join(scratch, "upper")), m.Dir(filepath.Join(scratch, "work")), root)
	m.System(root)
	if data >= 0 && m.Err == nil {
		if err := unix.MoveMount(data, "", unix.AT_FDCWD, filepath.Join(root, dataDir), unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount the broker's data directory: %w", err)
		}
	}
	m.Pivot(root)
	m.File("/etc/hosts", []byte("127.0.0.1 localhost\n"))
	m.File("/etc/hostname", []byte("localhost\n"))
	if m.Err != nil {
		return m.Err
	}
	if err := unix.Sethostname([]byte("localhost")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	return nil
}
