// Package build makes the lab's programs: Kubernetes, containerd and etcd from Go
// modules, and two small programs of its own. What it makes lies in the cache
// under a key of everything that went into it, so that a change rebuilds and
// nothing else does.
package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"ms2m.dev/ms2m/lab/internal/layout"
)

// Templates of the modules that are built. The files of a module end in .txt
// because a directory with a go.mod can't be embedded.
//
//go:embed modules recipes
var files embed.FS

// Builder builds into a cache.
type Builder struct {
	Cache    layout.Cache
	Progress io.Writer // told what is being built; nothing where all is cached
}

// Binaries makes sure that the module's binaries of these names are built, and
// returns the directory they are in.
func (b Builder) Binaries(ctx context.Context, m Module, names ...string) (string, error) {
	dir, err := b.Dir(ctx, m)
	if err != nil {
		return "", err
	}
	if len(missing(dir, names)) == 0 {
		return dir, nil
	}
	unlock, err := b.lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	todo := missing(dir, names) // another process may have built them meanwhile
	if len(todo) == 0 {
		return dir, nil
	}
	if err := b.module(ctx, m, dir, todo); err != nil {
		return "", fmt.Errorf("build %s %s: %w", m.Name, m.Version, err)
	}
	return dir, nil
}

// Dir is where the module's binaries belong, built or not.
func (b Builder) Dir(ctx context.Context, m Module) (string, error) {
	version, err := goVersion(ctx)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%q\n%q\n", version, runtime.GOARCH, m.Version, m.Tags, m.LDFlags)
	for _, f := range []string{"go.mod", "go.sum"} {
		data, err := m.file(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s\n", f, len(data), data)
	}
	return filepath.Join(b.Cache.Bin(), m.Name+"-"+m.Version+"-"+key(h.Sum(nil))), nil
}

func key(sum []byte) string { return hex.EncodeToString(sum)[:12] }

func missing(dir string, names []string) []string {
	var todo []string
	for _, n := range names {
		if _, err := os.Stat(filepath.Join(dir, n)); err != nil {
			todo = append(todo, n)
		}
	}
	return todo
}

// module builds the binaries in a scratch copy of the module and moves each of
// them into place when it is complete.
func (b Builder) module(ctx context.Context, m Module, dir string, names []string) error {
	src, err := b.scratch(filepath.Base(dir))
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	for _, f := range []string{"go.mod", "go.sum"} {
		data, err := m.file(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(src, f), data, 0o644); err != nil {
			return fmt.Errorf("write the module: %w", err)
		}
	}
	progress := newProgress(b.Progress, m.Name+" "+m.Version+" ("+strings.Join(names, ", ")+")")
	// One call for all, so that they are linked side by side. The go command names
	// them after their packages, but for a single one the name can be given.
	out := filepath.Join(src, "out") + "/"
	if len(names) == 1 {
		out += names[0]
	}
	args := []string{"build", "-v", "-o", out, "-ldflags", m.LDFlags, "-tags", m.Tags}
	for _, n := range names {
		args = append(args, m.Binaries[n])
	}
	if err := goTool(ctx, src, progress, args...); err != nil {
		progress.done("failed")
		return err
	}
	for _, n := range names {
		if err := publish(filepath.Join(src, "out", n), filepath.Join(dir, n)); err != nil {
			return err
		}
	}
	progress.done("built")
	return nil
}

// lock makes sure that nobody else builds what belongs in dir.
func (b Builder) lock(dir string) (unlock func(), err error) {
	name := filepath.Base(dir)
	return layout.Lock(filepath.Join(b.Cache.Locks(), name), func() {
		fmt.Fprintf(b.Progress, "waiting for another process that builds %s\n", name)
	})
}

// scratch makes an empty directory in the cache, so that what is built in it can
// be renamed into place. Who calls holds the lock of that name; what is there is
// left from a build that was killed.
func (b Builder) scratch(name string) (string, error) {
	dir := filepath.Join(b.Cache.Src(), name)
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("clear a build that was killed: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make room to build: %w", err)
	}
	return dir, nil
}

func publish(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("make the directory of binaries: %w", err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("move the binary into the cache: %w", err)
	}
	return nil
}

// goVersion is the version of the Go tool in the PATH: part of every key.
func goVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("ask the go command for its version (is Go installed and in the PATH?): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// goTool runs the go command in dir, with the settings that make a build the
// same for everyone, and shows its output only if it fails.
func goTool(ctx context.Context, dir string, progress io.Writer, args ...string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off", "GOOS=linux")
	cmd.Stdout = &output
	cmd.Stderr = io.MultiWriter(&output, progress)
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("go %s: %w", args[0], err), errors.New(tail(output.String(), 20)))
	}
	return nil
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
