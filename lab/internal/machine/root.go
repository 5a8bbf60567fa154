package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/cgroup"
	"ms2m.dev/ms2m/lab/internal/mount"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// Where things are in a machine.
const (
	pkiDir = "/etc/kubernetes/pki"
	logDir = "/var/log/lab"
	binDir = "/opt/lab"
)

// Path is the PATH in a machine. The wrapped criu comes before Debian's, so that
// runc finds it.
const Path = binDir + "/criu:" + binDir + "/kubernetes:" + binDir + "/containerd:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Env is the environment of every program in a machine.
var Env = []string{"PATH=" + Path, "HOME=/root", "LANG=C.UTF-8", "SSL_CERT_FILE=" + pkiDir + "/ca.crt", "KUBECONFIG=" + pkiDir + "/admin.kubeconfig"}

// own are the directories that must not be on the overlay: containerd lays
// overlays of its own, and large files are renamed and linked in the others.
var own = []string{"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/ms2m"}

// sysctls that the kubelet wants and that belong to the whole host. It finds them
// as it wants them, in files of the machine's own, and leaves the host alone.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// enterRoot gives the machine its file system: the common root below, its own
// files above, and nothing of the host's.
func enterRoot(l spec.Lab, name string) error {
	var m mount.Mounter
	dir := l.State.Machine(name)
	upper, work, root := m.Dir(filepath.Join(dir, "upper")), m.Dir(filepath.Join(dir, "work")), m.Dir(filepath.Join(dir, "root"))
	m.Propagate("/", unix.MS_PRIVATE)
	m.Overlay(l.Rootfs, upper, work, root)
	in := func(path string) string { return filepath.Join(root, path) }

	m.System(root)
	for _, path := range own {
		m.Bind(m.Dir(filepath.Join(dir, filepath.Base(path))), m.Dir(in(path)))
	}
	m.Bind(m.Dir(filepath.Join(l.State.Logs(), name)), m.Dir(in(logDir)))
	m.BindReadOnly(filepath.Join(l.State.PKI(), name), m.Dir(in(pkiDir)))
	for sub, source := range map[string]string{"criu": l.Binaries.CRIU, "kubernetes": l.Binaries.Kubernetes, "containerd": l.Binaries.Containerd} {
		m.BindReadOnly(source, m.Dir(in(filepath.Join(binDir, sub))))
	}

	m.Pivot(root)
	mountCgroups(&m, l.Cgroups)
	for key, value := range sysctls {
		file := filepath.Join("/run/sysctl", strings.ReplaceAll(key, "/", "."))
		m.File(file, []byte(value+"\n"))
		m.Bind(file, filepath.Join("/proc/sys", key))
	}
	m.File("/etc/hostname", []byte(name+"\n"))
	m.File("/etc/hosts", hosts(l.Nodes))
	// There is no name server. Pods get this file, so it must be there.
	m.File("/etc/resolv.conf", []byte("nameserver "+plan.Address+"\n"))
	// Pods' volumes are mounted by the kubelet and must be seen by the runtime, and
	// those that a pod mounts bidirectionally by everyone.
	m.Propagate("/", unix.MS_SHARED)
	if m.Err != nil {
		return m.Err
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	return nil
}

// mountCgroups mounts the hierarchies as the machine's cgroup namespace shows them.
func mountCgroups(m *mount.Mounter, tree cgroup.Tree) {
	const top = "/sys/fs/cgroup"
	m.FS("tmpfs", top, "mode=755")
	for _, h := range tree {
		target := filepath.Join(top, h.MountName())
		m.Mount("cgroup", m.Dir(target), "cgroup", 0, h.MountOptions())
		if m.Err != nil || len(h.Controllers) == 1 {
			continue
		}
		for _, c := range h.Controllers {
			if err := os.Symlink(h.MountName(), filepath.Join(top, c)); err != nil {
				m.Err = fmt.Errorf("link a cgroup hierarchy: %w", err)
			}
		}
	}
}

func hosts(nodes []plan.Node) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "127.0.0.1 localhost\n%s %s\n", plan.Address, plan.ControlPlane)
	for _, n := range nodes {
		fmt.Fprintf(&b, "%s %s\n", n.Address, n.Name)
	}
	return []byte(b.String())
}
