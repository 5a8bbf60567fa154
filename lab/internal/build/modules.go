package build

import (
	"fmt"
	"maps"
	"slices"

	"ms2m.dev/ms2m/lab/internal/versions"
)

// Module is a Go module of the lab's that exists to be built: it requires the
// program and fixes the version of everything the program needs.
type Module struct {
	Name    string
	Version string
	Tags    string
	LDFlags string
	// Binaries maps the name of a binary to its package.
	Binaries map[string]string
}

// Names returns the names of all binaries.
func (m Module) Names() []string { return slices.Sorted(maps.Keys(m.Binaries)) }

func (m Module) file(name string) ([]byte, error) {
	data, err := files.ReadFile("modules/" + m.Name + "/" + name + ".txt")
	if err != nil {
		return nil, fmt.Errorf("module template of %s: %w", m.Name, err)
	}
	return data, nil
}

// Kubernetes is the control plane, the kubelet, kube-proxy and kubectl.
func Kubernetes() Module {
	const version = "k8s.io/component-base/version."
	m := Module{
		Name:    "kubernetes",
		Version: versions.Kubernetes,
		// Without this the programs call themselves v0.0.0-master.
		LDFlags:  "-s -w -X " + version + "gitVersion=v" + versions.Kubernetes + " -X " + version + "gitTreeState=clean",
		Binaries: map[string]string{},
	}
	for _, n := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"} {
		m.Binaries[n] = "k8s.io/kubernetes/cmd/" + n
	}
	return m
}

// Containerd is containerd, its runc shim and its client.
func Containerd() Module {
	const cmd = "github.com/containerd/containerd/v2/"
	m := Module{
		Name:    "containerd",
		Version: versions.Containerd,
		Tags:    "no_btrfs no_aufs no_zfs no_devmapper netgo osusergo",
		LDFlags: "-s -w -X " + cmd + "version.Version=v" + versions.Containerd,

		Binaries: map[string]string{},
	}
	for _, n := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		m.Binaries[n] = cmd + "cmd/" + n
	}
	return m
}

// Etcd is the etcd of the envtest assets.
func Etcd() Module {
	return Module{
		Name:     "etcd",
		Version:  versions.Etcd,
		LDFlags:  "-s -w",
		Binaries: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
	}
}
