// Package integration runs the manager against a real API server and etcd, with
// a data plane that is simulated: instances of the library, kubelets, node
// agents and the scheduler are a few lines each in this package.
package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"

	"ms2m.dev/ms2m/api/v1alpha1"
)

const root = "../.." // of the repository

var (
	cfg    *rest.Config
	kube   client.WithWatch // straight to the API server
	scheme = runtime.NewScheme()
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	log.SetLogger(logr.Discard())
	assets, err := assets()
	if err != nil {
		return 0, err
	}
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return 0, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return 0, err
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory: assets,
		CRDDirectoryPaths:     []string{filepath.Join(root, "config/crd")},
		ErrorIfCRDPathMissing: true,
	}
	if cfg, err = env.Start(); err != nil {
		return 0, err
	}
	defer func() {
		if stop := env.Stop(); err == nil {
			err = stop
		}
	}()
	cfg.QPS, cfg.Burst = -1, -1
	if kube, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme}); err != nil {
		return 0, err
	}
	if err := cluster(context.Background()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// assets is the directory with kube-apiserver and etcd: what KUBEBUILDER_ASSETS
// says, or what the lab builds. Without them the tests fail.
func assets() (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir, nil
	}
	cmd := exec.Command("go", "run", "./cmd/lab", "envtest-assets")
	cmd.Dir = filepath.Join(root, "lab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("set KUBEBUILDER_ASSETS, or make the lab's usable: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
