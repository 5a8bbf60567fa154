package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Pause builds the program of the sandbox containers and returns its path.
func (b Builder) Pause(ctx context.Context) (string, error) {
	version, err := goVersion(ctx)
	if err != nil {
		return "", err
	}
	dir, err := b.own("pause", version, func(src, out string) error {
		return goTool(ctx, src, io.Discard, "build", "-ldflags", "-s -w", "-o", filepath.Join(out, "pause"), "main.go")
	}, "main.go")
	return filepath.Join(dir, "pause"), err
}

// CRIU builds the library that is loaded into criu, and returns a directory with
// it and a program "criu" that loads it.
func (b Builder) CRIU(ctx context.Context) (string, error) {
	return b.own("criu", "gcc", func(src, out string) error {
		cmd := exec.CommandContext(ctx, "gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", filepath.Join(out, "compat.so"), filepath.Join(src, "compat.c"))
		if msg, err := cmd.CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("gcc (run `lab deps --install` if it is missing): %w", err), errors.New(tail(string(msg), 20)))
		}
		wrapper, err := files.ReadFile("recipes/criu/criu.sh")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(out, "criu"), wrapper, 0o755)
	}, "compat.c", "criu.sh")
}

// own builds one of the lab's own programs from the embedded sources.
func (b Builder) own(name, toolchain string, build func(src, out string) error, sources ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", toolchain, runtime.GOARCH)
	contents := map[string][]byte{}
	for _, s := range sources {
		data, err := files.ReadFile("recipes/" + name + "/" + s)
		if err != nil {
			return "", fmt.Errorf("source of %s: %w", name, err)
		}
		contents[s] = data
		fmt.Fprintf(h, "%s %d\n%s\n", s, len(data), data)
	}
	dir := filepath.Join(b.Cache.Bin(), name+"-"+key(h.Sum(nil)))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := b.lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	src, err := b.scratch(filepath.Base(dir))
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(src)
	for s, data := range contents {
		if err := os.WriteFile(filepath.Join(src, s), data, 0o644); err != nil {
			return "", fmt.Errorf("write the source of %s: %w", name, err)
		}
	}
	out := filepath.Join(src, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	if err := build(src, out); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return dir, publish(out, dir)
}

// EnvtestAssets builds what controller-runtime's envtest starts, and the controllers
// that the tests start beside it, and returns the directory that KUBEBUILDER_ASSETS
// is to name.
func (b Builder) EnvtestAssets(ctx context.Context) (string, error) {
	kubernetes, err := b.Binaries(ctx, Kubernetes(), "kube-apiserver", "kube-controller-manager", "kubectl")
	if err != nil {
		return "", err
	}
	etcd, err := b.Binaries(ctx, Etcd(), "etcd")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.Cache.Bin(), "envtest-"+filepath.Base(kubernetes)+"-"+filepath.Base(etcd))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the envtest directory: %w", err)
	}
	for link, target := range map[string]string{
		"kube-apiserver":          filepath.Join(kubernetes, "kube-apiserver"),
		"kube-controller-manager": filepath.Join(kubernetes, "kube-controller-manager"),
		"kubectl":                 filepath.Join(kubernetes, "kubectl"),
		"etcd":                    filepath.Join(etcd, "etcd"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("link the envtest assets: %w", err)
		}
	}
	return dir, nil
}
