// Command csi is a CSI driver for the tests: its volumes can be published on any
// node, but on one at a time, and keep their files on the way. Between nodes, they are with
// a store that the test itself runs (harness.VolumeStore), which also notices when two
// nodes have one. It runs as a DaemonSet, beside each kubelet.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func main() {
	d := &driver{published: make(map[string]string)}
	flag.StringVar(&d.name, "name", "", "the driver's `name`")
	flag.StringVar(&d.node, "node", "", "the node's `name`")
	flag.StringVar(&d.store, "store", "", "`URL` of the store")
	kubelet := flag.String("kubelet", "/var/lib/kubelet", "the kubelet's `directory`")
	flag.Parse()
	d.dir = filepath.Join(*kubelet, "plugins", d.name)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := d.run(ctx, filepath.Join(*kubelet, "plugins_registry", d.name+".sock")); err != nil {
		slog.Error("csi", "error", err)
		os.Exit(1)
	}
}

// run serves the kubelet until ctx ends.
func (d *driver) run(ctx context.Context, registry string) error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	calls := grpc.NewServer()
	csi.RegisterIdentityServer(calls, d)
	csi.RegisterNodeServer(calls, d)
	registering := grpc.NewServer()
	registration.RegisterRegistrationServer(registering, d)
	ended := make(chan error, 2)
	// The kubelet finds the second and asks there for the first.
	for _, s := range []struct {
		path   string
		server *grpc.Server
	}{{d.socket(), calls}, {registry, registering}} {
		_ = os.Remove(s.path) // of a driver before this one
		l, err := (&net.ListenConfig{}).Listen(ctx, "unix", s.path)
		if err != nil {
			return err
		}
		go func() { ended <- s.server.Serve(l) }()
		defer s.server.Stop() // removes the socket, too
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (d *driver) socket() string { return filepath.Join(d.dir, "csi.sock") }

// GetInfo tells the kubelet where the driver is.
func (d *driver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: d.name, Endpoint: d.socket(), SupportedVersions: []string{"1.0.0"}}, nil
}

// NotifyRegistrationStatus hears whether the kubelet took it.
func (d *driver) NotifyRegistrationStatus(_ context.Context, r *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	slog.Info("csi: registered", "ok", r.PluginRegistered, "error", r.Error)
	return &registration.RegistrationStatusResponse{}, nil
}

// GetPluginInfo implements csi.IdentityServer.
func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.name, VendorVersion: "test"}, nil
}

// GetPluginCapabilities implements csi.IdentityServer.
func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

// Probe implements csi.IdentityServer.
func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}
