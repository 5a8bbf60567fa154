package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/brokertest"
)

const (
	namespace = "services" // of the pods and their migrations
	agents    = "ms2m-nodes"
	system    = "ms2m-system"
	secret    = "broker" // with the broker's URL
	// user is the manager for the API server: what it asks is written down. It is none
	// of the masters, so that priority and fairness hold for it.
	user = "ms2m-manager"
)

// auditPolicy has the API server write down what the manager asks, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  users: [` + user + `]
- level: None
`

// world is what all cases share: API server, broker, simulated nodes.
type world struct {
	options
	dir    string
	env    *envtest.Environment
	scheme *runtime.Scheme
	kube   client.Client // straight to the API server
	seen   client.Client // with a cache
	audit  *auditLog
	config string // the manager's kubeconfig
	broker *brokertest.Broker
	plane  *plane
	http   *servers
	stop   []func() error // in the order of the start
}

func newWorld(ctx context.Context, o options) (w *world, err error) {
	w = &world{options: o, scheme: runtime.NewScheme()}
	if err := errors.Join(clientgoscheme.AddToScheme(w.scheme), v1alpha1.AddToScheme(w.scheme)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "ms2m-scale"); err != nil {
		return w, err
	}
	w.stop = append(w.stop, func() error { return os.RemoveAll(w.dir) })
	cfg, err := w.startAPI()
	if err != nil {
		return w, err
	}
	if err := os.Setenv(brokertest.EnvLab, filepath.Join(w.bin, "lab")); err != nil {
		return w, err
	}
	if w.broker, err = brokertest.Start(w.dir); err != nil {
		return w, err
	}
	w.stop = append(w.stop, w.broker.Stop)
	if w.plane, err = newPlane(w.broker.URL); err != nil {
		return w, err
	}
	w.stop = append(w.stop, w.plane.close)
	if w.http, err = serve(w.plane, w.dir); err != nil {
		return w, err
	}
	w.stop = append(w.stop, w.http.close)
	if err := w.populate(ctx); err != nil {
		return w, err
	}
	return w, w.startNodes(cfg)
}

// startAPI starts etcd and the API server.
func (w *world) startAPI() (*rest.Config, error) {
	policy, log := filepath.Join(w.dir, "audit.yaml"), filepath.Join(w.dir, "audit.log")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	w.audit = &auditLog{file: log}
	w.env = &envtest.Environment{
		BinaryAssetsDirectory: w.assets,
		CRDDirectoryPaths:     []string{filepath.Join(w.chart, "files/crds")},
		ErrorIfCRDPathMissing: true,
	}
	w.env.ControlPlane.Etcd = &envtest.Etcd{}
	w.env.ControlPlane.Etcd.Configure().Set("unsafe-no-fsync", "true") // nothing of it is to outlive this
	w.env.ControlPlane.GetAPIServer().Configure().
		Set("audit-policy-file", policy).Set("audit-log-path", log).Set("audit-log-maxsize", "2000")
	cfg, err := w.env.Start()
	if err != nil {
		return nil, errors.Join(err, w.env.Stop())
	}
	w.stop = append(w.stop, w.env.Stop)
	cfg.QPS, cfg.Burst = -1, -1
	if w.kube, err = client.New(cfg, client.Options{Scheme: w.scheme}); err != nil {
		return nil, err
	}
	manager, err := w.env.AddUser(envtest.User{Name: user}, nil)
	if err != nil {
		return nil, err
	}
	config, err := manager.KubeConfig()
	if err != nil {
		return nil, err
	}
	w.config = filepath.Join(w.dir, "kubeconfig")
	return cfg, os.WriteFile(w.config, config, 0o600)
}

// profileAPI writes a CPU profile of the API server into a file.
func (w *world) profileAPI(ctx context.Context, file string) error {
	c, err := kubernetes.NewForConfig(w.env.Config)
	if err != nil {
		return err
	}
	profile, err := c.RESTClient().Get().AbsPath("/debug/pprof/profile").Param("seconds", "30").DoRaw(ctx)
	return errors.Join(err, os.WriteFile(file, profile, 0o644))
}

// populate makes what a cluster has in which MS2M is installed.
func (w *world) populate(ctx context.Context) error {
	objects := []client.Object{
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		},
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RuntimeClassName}, Handler: "ms2m"},
	}
	for _, name := range []string{namespace, agents, system} {
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	objects = append(objects, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secret, Namespace: namespace}, StringData: map[string]string{"url": w.broker.URL},
	})
	for _, o := range objects {
		if err := w.kube.Create(ctx, o); err != nil {
			return err
		}
	}
	for i := range w.nodes {
		if err := w.addNode(ctx, node(i)); err != nil {
			return fmt.Errorf("%s: %w", node(i), err)
		}
	}
	return nil
}

func node(i int) string { return fmt.Sprintf("node-%02d", i) }

// facts are what each agent says of its node.
const facts = `{"kernel":"6.12.0","criu":"4.1.1","archiveFreeBytes":10000000000,"stageFreeBytes":10000000000}`

// addNode adds a node that is ready, and its agent.
func (w *world) addNode(ctx context.Context, name string) error {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	if err := w.kube.Create(ctx, n); err != nil {
		return err
	}
	n.Status.NodeInfo = corev1.NodeSystemInfo{Architecture: "amd64", OperatingSystem: "linux"}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(w.http.kubelet)
	if err := w.kube.Status().Update(ctx, n); err != nil {
		return err
	}
	n.Spec.Taints = nil // the admission plugin's, which the node controller would remove
	if err := w.kube.Update(ctx, n); err != nil {
		return err
	}
	agent := newPod(agents, "agent-"+name, name)
	agent.Labels = map[string]string{labelName: v1alpha1.AgentName}
	agent.Annotations = map[string]string{v1alpha1.AnnotationNodeFacts: facts}
	if err := w.kube.Create(ctx, agent); err != nil {
		return err
	}
	running(agent, corev1.ConditionTrue)
	return w.kube.Status().Update(ctx, agent)
}

// startNodes starts the simulated nodes.
func (w *world) startNodes(cfg *rest.Config) error {
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: w.scheme, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	w.seen = mgr.GetClient()
	n := &nodes{client: mgr.GetClient(), plane: w.plane}
	if err := n.setUp(mgr); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.stop = append(w.stop, func() error { cancel(); return <-done })
	return nil
}

// close ends everything in the reverse order of its start.
func (w *world) close() error {
	var errs []error
	for i := len(w.stop) - 1; i >= 0; i-- {
		errs = append(errs, w.stop[i]())
	}
	w.stop = nil
	return errors.Join(errs...)
}

// tick is how often this process looks whether something that it waits for has come.
const tick = 100 * time.Millisecond

// await waits until something holds.
func await(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v: %s", patience, what))
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
