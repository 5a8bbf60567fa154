// Command node-agent does MS2M's work on one node: it installs the shim, pushes
// the checkpoints that are made there and stages those that are to be restored.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/agent"
	"ms2m.dev/ms2m/internal/agent/install"
	"ms2m.dev/ms2m/internal/dump"
	"ms2m.dev/ms2m/internal/logging"
	"ms2m.dev/ms2m/internal/metrics"
	"ms2m.dev/ms2m/internal/registry"
	"ms2m.dev/ms2m/internal/staging"
	"ms2m.dev/ms2m/internal/version"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

type options struct {
	node, podUID    string
	pod, namespace  string
	archives, pods  string
	socket, root    string
	install         bool
	uninstall       bool
	installCRIU     bool
	importConfig    bool
	skipLock        bool
	restart         install.RestartMode
	health, metrics string
	metricsSecure   bool
	pprof           string
	concurrency     int
}

// askTimeout bounds how long a scrape waits for containerd.
const askTimeout = 2 * time.Second

func main() {
	o := options{restart: install.RestartAuto}
	flag.StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "name of this node")
	flag.StringVar(&o.podUID, "pod-uid", os.Getenv("POD_UID"), "UID of the agent's own pod")
	flag.StringVar(&o.pod, "pod-name", os.Getenv("POD_NAME"), "name of the agent's own pod")
	flag.StringVar(&o.namespace, "pod-namespace", os.Getenv("POD_NAMESPACE"), "namespace of the agent's own pod")
	flag.StringVar(&o.archives, "checkpoints", "/var/lib/kubelet/checkpoints", "directory of the kubelet's checkpoints")
	flag.StringVar(&o.pods, "pods", "/proc/1/root/var/lib/kubelet/pods", "directory of the kubelet's pods")
	flag.StringVar(&o.socket, "containerd", "/run/containerd/containerd.sock", "containerd's socket")
	flag.StringVar(&o.root, "root", "/proc/1/root", "where the node's root directory is seen")
	flag.BoolVar(&o.install, "install", true, "install the shim, containerd's handler and CRIU's options")
	flag.BoolVar(&o.uninstall, "uninstall", false, "take away what was installed, be ready when nothing is left of it, and do nothing else")
	flag.BoolVar(&o.installCRIU, "install-criu", true, "with --install: put the CRIU of this image on the node if that has none")
	flag.BoolVar(&o.importConfig, "import-config", false, "with --install: have containerd's own configuration import /etc/containerd/conf.d where it does not")
	flag.BoolVar(&o.skipLock, "skip-network-lock", true, "with --install: let CRIU not lock the network of what it dumps")
	flag.Var(&o.restart, "containerd-restart", "how containerd is restarted for a new handler: auto, systemd, signal or none")
	flag.StringVar(&o.health, "health-address", ":8081", "where /healthz and /readyz are served, 0 for nowhere")
	flag.StringVar(&o.metrics, "metrics-address", "0", "where metrics are served, 0 for nowhere")
	flag.BoolVar(&o.metricsSecure, "metrics-secure", false, "serve metrics over TLS, to those who may get the path /metrics")
	flag.StringVar(&o.pprof, "pprof-bind-address", "", "where profiles are served, as 127.0.0.1:6060; empty for nowhere")
	flag.IntVar(&o.concurrency, "concurrency", 4, "number of transfers at once")
	showVersion := flag.Bool("version", false, "say which version this is, and end")
	flag.Parse()
	if *showVersion {
		fmt.Println("node-agent", version.String())
		return
	}
	log := logging.Setup(os.Stderr, 0)
	log.Info("starting", "version", version.String())
	if err := run(ctrl.SetupSignalHandler(), o, log); err != nil {
		log.Error(err, "node agent ended")
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, log logr.Logger) error {
	if o.node == "" {
		return errors.New("the name of the node is missing: --node or NODE_NAME")
	}
	if o.pod == "" || o.namespace == "" {
		return errors.New("the agent's own pod is not known: --pod-name and --pod-namespace, or POD_NAME and POD_NAMESPACE")
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	m, err := ctrl.NewManager(config, o.manager(scheme))
	if err != nil {
		return err
	}
	if err := m.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	installer, err := addInstaller(m, o, log)
	if err != nil {
		return err
	}
	if o.uninstall {
		return m.Start(ctx)
	}
	counts, err := metrics.NewAgent(ctrlmetrics.Registry)
	if err != nil {
		return err
	}
	shown := &metrics.Node{Archives: o.archives, Stage: staging.Root, Clock: clock.RealClock{}, Ready: func() error {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return installer.Ready(ctx)
	}}
	if err := ctrlmetrics.Registry.Register(shown); err != nil {
		return err
	}
	r := &agent.Reconciler{
		Client:   m.GetClient(),
		Registry: registry.New(),
		Clock:    clock.RealClock{},
		Observer: counts,
		Node:     o.node,
		Archives: o.archives,
		Area:     staging.At(staging.Root),
		Pods:     o.pods,
		PodUID:   o.podUID,
	}
	if err := r.SetupWithManager(ctx, m, o.concurrency); err != nil {
		return err
	}
	containerd, err := dump.NewContainerd(o.socket, o.root)
	if err != nil {
		return err
	}
	thawer := &agent.Thawer{Client: m.GetClient(), Containers: containerd, Node: o.node, Proc: "/proc"}
	if err := thawer.SetupWithManager(m); err != nil {
		return err
	}
	node := agent.Node{Archives: o.archives, Stage: staging.Root, Proc: "/proc", CRIU: install.NodeCRIU}
	facts := &agent.Facts{
		Pod:    agent.OwnPod{Client: m.GetClient(), Namespace: o.namespace, Name: o.pod},
		Clock:  clock.RealClock{},
		Gather: node.Facts,
		Seen:   shown.Seen,
	}
	if err := m.Add(manager.RunnableFunc(facts.Run)); err != nil {
		return err
	}
	return m.Start(ctx)
}

// manager is what the flags say to controller-runtime.
func (o options) manager(scheme *runtime.Scheme) ctrl.Options {
	return ctrl.Options{
		Scheme:                 scheme,
		Cache:                  agent.CacheOptions(o.node),
		HealthProbeBindAddress: o.health,
		Metrics:                metrics.Serving(o.metrics, o.metricsSecure),
		PprofBindAddress:       o.pprof,
	}
}

// addInstaller makes m install what restores need, and be ready only with it.
// Pushing needs none of it, so the transfers do not wait.
func addInstaller(m ctrl.Manager, o options, log logr.Logger) (*install.Installer, error) {
	containerd, err := install.NewRuntime(o.socket, o.restart)
	if err != nil {
		return nil, err
	}
	i := &install.Installer{
		Containerd: containerd,
		Log:        log.WithName("install"),
		Shim:       "/containerd-shim-ms2m-v1",
		BinDir:     "/opt/ms2m/bin",
		ConfigDir:  "/etc/containerd/conf.d",
		CRIUDir:    "/etc/criu",
		Record:     filepath.Join(staging.Root, "installed.json"),
		Own:        []string{filepath.Join(o.root, "/opt/ms2m"), filepath.Join(o.root, staging.Root)},
		CRIUHome:   filepath.Join(o.root, "/etc/criu"),
	}
	if o.installCRIU || o.uninstall {
		i.CRIU = &install.CRIU{Source: "/criu", Home: "/opt/ms2m/criu", Root: o.root, Log: i.Log, Path: containerd.Path}
	}
	if o.importConfig || o.uninstall {
		i.Import = func() (install.Import, error) {
			path, err := containerd.ConfigPath()
			return install.Import{Config: filepath.Join(o.root, path), Pattern: i.ConfigDir + "/*.toml"}, err
		}
	}
	if o.skipLock {
		i.CRIUVersion = install.NodeCRIU
	}
	if o.uninstall {
		if err := m.Add(manager.RunnableFunc(i.RunRemoval)); err != nil {
			return nil, err
		}
		return i, m.AddReadyzCheck("removed", func(req *http.Request) error { return i.Removed(req.Context()) })
	}
	if o.install {
		if err := m.Add(manager.RunnableFunc(i.Run)); err != nil {
			return nil, err
		}
	}
	return i, m.AddReadyzCheck("handler", func(req *http.Request) error { return i.Ready(req.Context()) })
}
