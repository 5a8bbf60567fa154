// Command manager is the MS2M controller: it carries StatefulMigrations through.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/kubelet"
	"ms2m.dev/ms2m/internal/logging"
	"ms2m.dev/ms2m/internal/metrics"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/queue"
	"ms2m.dev/ms2m/internal/registry"
	"ms2m.dev/ms2m/internal/version"
)

func main() {
	do := run
	if len(os.Args) > 1 && os.Args[1] == uninstallCommand {
		do = func() error { return runUninstall(os.Args[2:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	metrics, probes   string
	metricsSecure     bool
	pprof             string
	leaderElection    bool
	leaderNamespace   string
	leaseDuration     time.Duration
	renewDeadline     time.Duration
	retryPeriod       time.Duration
	agentNamespace    string
	kubeletAccess     string
	kubeletCA         string
	registryPlainHTTP bool
	workers           int
	limits            queue.Limits
	policy            migration.Policy
	drain             drainOptions
	verbosity         int
	version           bool
}

func parse() (options, error) {
	o := options{policy: migration.DefaultPolicy()}
	flag.StringVar(&o.metrics, "metrics-bind-address", ":8080", "where metrics are served; 0 for nowhere")
	flag.BoolVar(&o.metricsSecure, "metrics-secure", false, "serve metrics over TLS, to those who may get the path /metrics")
	flag.StringVar(&o.pprof, "pprof-bind-address", "", "where profiles are served, as 127.0.0.1:6060; empty for nowhere")
	flag.StringVar(&o.probes, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served")
	flag.BoolVar(&o.leaderElection, "leader-elect", true, "let one manager at a time be active")
	flag.StringVar(&o.leaderNamespace, "leader-election-namespace", "", "namespace of the lease; by default the manager's own")
	flag.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", 15*time.Second, "how long another manager waits before it takes the place of one that has died")
	flag.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", 10*time.Second, "how long the active manager tries to renew its lease before it ends")
	flag.DurationVar(&o.retryPeriod, "leader-elect-retry-period", 2*time.Second, "how often a manager tries to get or renew the lease")
	flag.StringVar(&o.agentNamespace, "agent-namespace", "ms2m-nodes", "namespace of the node agents")
	flag.StringVar(&o.kubeletAccess, "kubelet-access", "proxy", "how kubelets are reached: proxy (through the API server, needs nodes/proxy) or direct (needs nodes/checkpoint)")
	flag.StringVar(&o.kubeletCA, "kubelet-ca-file", "", "authority of the kubelets' serving certificates, for direct access; by default the cluster's")
	flag.BoolVar(&o.registryPlainHTTP, "registry-plain-http", false, "talk to registries without TLS: for tests only")
	flag.IntVar(&o.workers, "workers", 10, "how many migrations are worked on at a time")
	flag.IntVar(&o.limits.Migrations, "max-migrations", 5, "how many migrations are active at a time, in the whole cluster: others queue; 0 for no limit")
	flag.IntVar(&o.limits.PerNode, "max-migrations-per-node", 2, "how many active migrations a node is source or target of at a time; 0 for no limit")
	flag.DurationVar(&o.policy.Lease, "lease", o.policy.Lease, "how long an instance goes without hearing from the manager before it gives up")
	flag.DurationVar(&o.policy.Blink, "blink", o.policy.Blink, "the longest rest of a replay that the source is frozen for at once")
	flag.DurationVar(&o.policy.Trend, "trend", o.policy.Trend, "how long a replay is watched before a lag that clearly grows freezes the source; one that is unclear is watched three times as long")
	flag.DurationVar(&o.policy.CatchUp, "catch-up", o.policy.CatchUp, "how long a copy is left to catch up by itself: if it would take longer, the source is slowed down")
	flag.DurationVar(&o.policy.Pace, "pace", o.policy.Pace, "the longest time from one message to the next of a source that is slowed down, up to 1s")
	flag.DurationVar(&o.policy.Abandon, "abandon", o.policy.Abandon, "how long the rest of a migration that is over, or deleted, may wait for a broker, a registry or a node that does not come back")
	o.drain.flags()
	flag.BoolVar(&o.version, "version", false, "say which version this is, and end")
	flag.IntVar(&o.verbosity, "v", 0, "verbosity of the log: 0, or 1 for every action and every wait")
	flag.Parse()
	return o, o.check()
}

// check refuses numbers that make no sense.
func (o options) check() error {
	for _, f := range []struct {
		name     string
		n, least int
		or       string
	}{
		{"workers", o.workers, 1, ""},
		{"max-migrations", o.limits.Migrations, 0, ", or 0 for no limit"},
		{"max-migrations-per-node", o.limits.PerNode, 0, ", or 0 for no limit"},
	} {
		if f.n < f.least {
			return fmt.Errorf("--%s is %d: it must be at least 1%s", f.name, f.n, f.or)
		}
	}
	if o.policy.CatchUp <= 0 {
		return fmt.Errorf("--catch-up is %v: it must be more than nothing", o.policy.CatchUp)
	}
	if o.policy.Pace < time.Millisecond || o.policy.Pace > time.Second {
		return fmt.Errorf("--pace is %v: it must be 1ms to 1s; spec.throttle: Never is for no pace at all", o.policy.Pace)
	}
	return nil
}

func run() error {
	o, err := parse()
	if err != nil {
		return err
	}
	if o.version {
		fmt.Println("manager", version.String())
		return nil
	}
	logging.Setup(os.Stderr, o.verbosity).Info("starting", "version", version.String())
	ctx := ctrl.SetupSignalHandler()

	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	if err := awaitAPI(ctx, cfg, o.probes); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cfg, o.manager(scheme))
	if err != nil {
		return err
	}
	if err := setUpDrain(mgr, o.drain); err != nil {
		return err
	}
	checkpointer, err := newKubelet(mgr, o)
	if err != nil {
		return err
	}
	sessions := controller.NewSessions()
	pool := broker.NewPool(clock.RealClock{}, sessions.Wake)
	defer pool.Close()
	r := &controller.Reconciler{
		Client:         mgr.GetClient(),
		Live:           mgr.GetAPIReader(),
		Recorder:       mgr.GetEventRecorder("ms2m-manager"),
		Clock:          clock.RealClock{},
		Policy:         o.policy,
		Kubelet:        checkpointer,
		Registry:       newRegistry(o),
		Access:         controller.AccessOf(mgr.GetClient(), clock.RealClock{}),
		Brokers:        controller.RabbitMQ(pool),
		Sessions:       sessions,
		AgentNamespace: o.agentNamespace,
		KubeletDirect:  o.kubeletAccess == "direct",
		Workers:        o.workers,
		Limits:         o.limits,
	}
	if err := errors.Join(instrument(r), observe(mgr, r, pool)); err != nil {
		return err
	}
	sent, err := traced(ctx, r)
	if err != nil {
		return err
	}
	defer sent()
	if err := r.SetupWithManager(ctx, mgr); err != nil {
		return err
	}
	if err := errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("ping", healthz.Ping),
	); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// manager is what the flags say to controller-runtime.
func (o options) manager(scheme *runtime.Scheme) ctrl.Options {
	return ctrl.Options{
		Scheme:                  scheme,
		Metrics:                 metrics.Serving(o.metrics, o.metricsSecure),
		PprofBindAddress:        o.pprof,
		HealthProbeBindAddress:  o.probes,
		LeaderElection:          o.leaderElection,
		LeaderElectionID:        "manager.migration.ms2m.dev",
		LeaderElectionNamespace: o.leaderNamespace,
		LeaseDuration:           &o.leaseDuration,
		RenewDeadline:           &o.renewDeadline,
		RetryPeriod:             &o.retryPeriod,
		// The process ends when the manager stops, so that the lease can be given
		// up at once: nothing of this process acts after it.
		LeaderElectionReleaseOnCancel: true,
		Cache:                         cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	}
}

// awaitAPI waits until the API server answers, alive by its probe. A process that
// ended because it does not would be started later and later by the kubelet, and be
// missing for minutes when it does again.
func awaitAPI(ctx context.Context, cfg *rest.Config, probes string) error {
	api, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return err
	}
	alive := http.NewServeMux()
	alive.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: probes, Handler: alive, ReadHeaderTimeout: 5 * time.Second}
	defer server.Close()
	serving := false
	return wait.PollUntilContextCancel(ctx, 2*time.Second, true, func(context.Context) (bool, error) {
		_, err := api.ServerVersion()
		if err == nil {
			return true, nil
		}
		ctrl.Log.Info("waiting for the API server", "error", err.Error())
		if !serving {
			serving = true
			go func() { _ = server.ListenAndServe() }()
		}
		return false, nil
	})
}

func newKubelet(mgr ctrl.Manager, o options) (*kubelet.Client, error) {
	switch o.kubeletAccess {
	case "proxy":
		return kubelet.ThroughProxy(mgr.GetConfig(), clock.RealClock{})
	case "direct":
		return kubelet.Direct(mgr.GetConfig(), mgr.GetAPIReader(), o.kubeletCA, clock.RealClock{})
	}
	return nil, fmt.Errorf("--kubelet-access is %q: proxy or direct", o.kubeletAccess)
}

func newRegistry(o options) *registry.Client {
	if o.registryPlainHTTP {
		return registry.New(registry.WithPlainHTTP())
	}
	return registry.New()
}
