package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/service"
)

const containerdSocket = "/run/containerd/containerd.sock"

// worker returns the services of a node.
func worker(n plan.Node) ([]service.Service, error) {
	err := writeConfigs(newValues(n), map[string]string{
		"/etc/containerd/config.toml":     "containerd.toml",
		"/etc/cni/net.d/10-lab.conflist":  "cni.conflist",
		"/etc/kubernetes/kubelet.yaml":    "kubelet.yaml",
		"/etc/kubernetes/kube-proxy.yaml": "kube-proxy.yaml",
	})
	if err != nil {
		return nil, err
	}
	// The node agent puts its files here.
	for _, dir := range []string{"/etc/containerd/conf.d", "/etc/criu", "/opt/ms2m/bin", "/var/lib/kubelet/checkpoints"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make the node's directories: %w", err)
		}
	}
	if err := routePods(); err != nil {
		return nil, err
	}
	client, err := clientTLS("kubelet-client")
	if err != nil {
		return nil, err
	}
	// Started before the API server answers, both would come back late: the times
	// between their attempts grow.
	apiServer := service.HTTPS(plan.APIServer+"/readyz", client)
	return []service.Service{
		{
			Name:    "containerd",
			Command: []string{"containerd", "--config", "/etc/containerd/config.toml"},
			Ready:   service.UnixSocket(containerdSocket),
		},
		{
			Name: "kubelet",
			Command: []string{"kubelet",
				"--config=/etc/kubernetes/kubelet.yaml", "--kubeconfig=" + pki("kubelet.kubeconfig"),
				"--hostname-override=" + n.Name, "--node-ip=" + n.Address.String(), "--v=2",
			},
			After: service.All(service.UnixSocket(containerdSocket), apiServer),
			Ready: service.HTTP("http://127.0.0.1:10248/healthz"),
		},
		{
			Name:    "kube-proxy",
			Command: []string{"kube-proxy", "--config=/etc/kubernetes/kube-proxy.yaml", "--hostname-override=" + n.Name},
			After:   apiServer,
			Ready:   service.HTTP("http://127.0.0.1:10256/livez"),
		},
	}, nil
}

// routePods lets the node forward between its pods and the other nodes.
func routePods() error {
	settings := map[string]string{"/proc/sys/net/ipv4/ip_forward": "1"}
	filters, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/rp_filter")
	if err != nil {
		return err
	}
	for _, f := range filters {
		settings[f] = "0"
	}
	for path, value := range settings {
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set up routing: %w", err)
		}
	}
	return nil
}
