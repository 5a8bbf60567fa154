// Package integration runs the manager against a real API server and etcd, with the
// real controllers of StatefulSets, ReplicaSets and Deployments. The data plane is
// simulated: instances of the library, kubelets, node agents and the scheduler
// are a few lines each in this package.
package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
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
	seen   client.Reader    // what the simulated nodes see, all from one cache
	scheme = runtime.NewScheme()
)

// side is how many tests run side by side: they wait most of the time.
const side = "12"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", side); err != nil {
			panic(err)
		}
	}
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
		CRDDirectoryPaths:     []string{filepath.Join(root, "charts/ms2m/files/crds")},
		ErrorIfCRDPathMissing: true,
	}
	// Nothing of it is to outlive the tests.
	env.ControlPlane.Etcd = &envtest.Etcd{}
	env.ControlPlane.Etcd.Configure().Set("unsafe-no-fsync", "true")
	// An alpha API of Kubernetes 1.37, for drain_test.go.
	env.ControlPlane.GetAPIServer().Configure().
		Append("feature-gates", "EvictionRequestAPI=true").
		Append("runtime-config", "lifecycle.k8s.io/v1alpha1=true")
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := cluster(ctx); err != nil {
		return 0, err
	}
	c, err := cache.New(cfg, cache.Options{Scheme: scheme})
	if err != nil {
		return 0, err
	}
	go func() { _ = c.Start(ctx) }()
	seen = c
	owners, err := startOwners(env, assets)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, owners.stop(code != 0)) }()
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
