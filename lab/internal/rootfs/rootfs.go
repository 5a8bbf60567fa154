// Package rootfs makes the root file system of the lab's machines from Debian
// packages.
package rootfs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/versions"
)

// Dir is where the root file system belongs, made or not.
func Dir(cache layout.Cache) string {
	return filepath.Join(cache.Rootfs(), versions.DebianSuite+"-"+key())
}

// Ensure makes sure that the root file system is in the cache, and returns its
// directory. It is never written to: machines lay their own files over it.
func Ensure(ctx context.Context, cache layout.Cache, progress io.Writer) (string, error) {
	dir := Dir(cache)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := layout.Lock(filepath.Join(cache.Locks(), "rootfs-"+filepath.Base(dir)), func() {
		fmt.Fprintln(progress, "waiting for another process that makes the root file system")
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	root := dir + ".new" // if it is there, it was left by a process that was killed
	if err := os.RemoveAll(root); err != nil {
		return "", fmt.Errorf("clear an unfinished root file system: %w", err)
	}
	if err := os.MkdirAll(cache.Rootfs(), 0o755); err != nil {
		return "", fmt.Errorf("make room for the root file system: %w", err)
	}
	defer os.RemoveAll(root)
	start := time.Now()
	fmt.Fprintf(progress, "making the root file system (Debian %s, about a minute)\n", versions.DebianSuite)
	if err := bootstrap(ctx, root); err != nil {
		return "", err
	}
	if err := verify(root); err != nil {
		return "", err
	}
	if err := os.Rename(root, dir); err != nil {
		return "", fmt.Errorf("move the root file system into the cache: %w", err)
	}
	fmt.Fprintf(progress, "made the root file system: %s\n", time.Since(start).Round(time.Second))
	return dir, nil
}

// recipe are the arguments that decide what is in the root file system.
func recipe() []string {
	names := make([]string, len(versions.DebianPackages))
	for i, p := range versions.DebianPackages {
		names[i] = p.Name
	}
	return []string{"--mode=root", "--variant=apt", "--include=" + strings.Join(names, ","), versions.DebianSuite}
}

func key() string {
	sum := sha256.Sum256(fmt.Append(nil, runtime.GOARCH, recipe(), versions.DebianPackages))
	return hex.EncodeToString(sum[:])[:12]
}

// bootstrap runs mmdebstrap. The mirror is its own default, Debian's, unless
// MS2M_DEBIAN_MIRROR names another.
func bootstrap(ctx context.Context, root string) error {
	args := append(recipe(), root)
	if mirror := os.Getenv("MS2M_DEBIAN_MIRROR"); mirror != "" {
		args = append(args, mirror)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return errors.Join(fmt.Errorf("mmdebstrap (run `lab deps --install` if it is missing; it needs Debian's mirror): %w", err),
			errors.New(strings.Join(lines[max(0, len(lines)-20):], "\n")))
	}
	return nil
}

// verify compares the installed versions with those that were tried.
func verify(root string) error {
	f, err := os.Open(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		return fmt.Errorf("read the installed packages: %w", err)
	}
	defer f.Close()
	installed, err := parseStatus(f)
	if err != nil {
		return err
	}
	return check(installed)
}

func check(installed map[string]string) error {
	var errs []error
	for _, p := range versions.DebianPackages {
		switch v, ok := installed[p.Name]; {
		case !ok:
			errs = append(errs, fmt.Errorf("package %s is not installed", p.Name))
		case p.Upstream != "" && upstream(v) != p.Upstream:
			errs = append(errs, fmt.Errorf("package %s is %s, but the lab was tried with %s: try it, then change internal/versions", p.Name, v, p.Upstream))
		}
	}
	return errors.Join(errs...)
}

// parseStatus reads the versions from dpkg's status file.
func parseStatus(r io.Reader) (map[string]string, error) {
	installed := map[string]string{}
	var name string
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		switch field, value, _ := strings.Cut(s.Text(), ": "); field {
		case "Package":
			name = value
		case "Version":
			installed[name] = value
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read dpkg's status file: %w", err)
	}
	return installed, nil
}

// upstream strips the epoch, the repacking mark and the Debian revision.
func upstream(version string) string {
	if _, v, ok := strings.Cut(version, ":"); ok {
		version = v
	}
	if i := strings.LastIndexByte(version, '-'); i >= 0 {
		version = version[:i]
	}
	version, _, _ = strings.Cut(version, "+")
	return version
}
