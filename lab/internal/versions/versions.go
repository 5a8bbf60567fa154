// Package versions pins everything the lab is made of. The module templates in
// internal/build/modules repeat the Go versions, because Go reads them there; a
// test keeps both in step.
package versions

// Components built from Go modules.
const (
	Kubernetes = "1.37.2"
	Containerd = "2.4.2"
	// Etcd is used by the envtest assets only; it is the version Kubernetes
	// itself is built against. The lab's own etcd comes from Debian.
	Etcd = "3.7.0"
)

// DebianSuite is the suite the root file system is made of. Its criu runs on
// current kernels; that of the suite before does not.
const DebianSuite = "trixie"

// Package is a Debian package of the root file system. Upstream, if set, is the
// upstream version that was tried; another one fails the build of the root file
// system, so that a change is a decision and not a surprise.
type Package struct {
	Name     string
	Upstream string
}

// DebianPackages lists what the root file system holds beyond the base.
var DebianPackages = []Package{
	{Name: "ca-certificates"},
	{Name: "containernetworking-plugins", Upstream: "1.1.1"},
	{Name: "criu", Upstream: "4.1.1"},
	{Name: "curl"},
	{Name: "docker-registry", Upstream: "2.8.3"},
	{Name: "etcd-server", Upstream: "3.5.16"},
	{Name: "iproute2"},
	{Name: "iptables"},
	{Name: "jq"},
	{Name: "mount"}, // the kubelet runs it
	{Name: "nftables"},
	{Name: "procps"},
	{Name: "rabbitmq-server", Upstream: "4.0.5"},
	{Name: "runc", Upstream: "1.1.15"},
}
