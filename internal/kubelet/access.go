package kubelet

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// defaultPort of kubelets whose node does not name another.
const defaultPort = 10250

// ThroughProxy makes a client that goes through the API server's node proxy:
// it works wherever the API server works, but needs the permission
// nodes/proxy, which allows much more.
func ThroughProxy(cfg *rest.Config, c clock.WithTicker) (*Client, error) {
	h, err := rest.HTTPClientFor(unlimited(cfg))
	if err != nil {
		return nil, err
	}
	base, _, err := rest.DefaultServerURL(cfg.Host, cfg.APIPath, corev1.SchemeGroupVersion, true)
	if err != nil {
		return nil, err
	}
	return newClient(h, func(_ context.Context, node string) (*url.URL, error) {
		return base.JoinPath("api", "v1", "nodes", node, "proxy"), nil
	}, c), nil
}

// Direct makes a client that talks to kubelets themselves, with the manager's
// own credentials: it needs nothing but nodes/checkpoint. caFile holds the
// authority that signed the kubelets' serving certificates; without it the
// cluster's own is taken.
func Direct(cfg *rest.Config, nodes client.Reader, caFile string, c clock.WithTicker) (*Client, error) {
	own := unlimited(cfg)
	if caFile != "" {
		own.CAFile, own.CAData = caFile, nil
	}
	own.ServerName = "" // each kubelet's certificate is its own
	h, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, err
	}
	return newClient(h, func(ctx context.Context, name string) (*url.URL, error) {
		var node corev1.Node
		if err := nodes.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
			return nil, err
		}
		return address(&node)
	}, c), nil
}

// unlimited is the configuration without the client's own time-out, since a
// checkpoint takes as long as the context allows.
func unlimited(cfg *rest.Config) *rest.Config {
	own := rest.CopyConfig(cfg)
	own.Timeout = 0
	return own
}

func address(node *corev1.Node) (*url.URL, error) {
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port == 0 {
		port = defaultPort
	}
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return &url.URL{Scheme: "https", Host: net.JoinHostPort(a.Address, strconv.Itoa(port))}, nil
		}
	}
	return nil, fmt.Errorf("the node %q has no internal address", node.Name)
}
