// Package machine is what runs inside of a machine of the lab, the control plane's
// or a worker's: its process 1, its file system, and its services.
package machine

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/service"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// GateFD is the descriptor on which a machine's process 1 waits for the network:
// it is closed when the machine is connected.
const GateFD = 3

// Join puts this process, which has all the machine's namespaces but that of
// cgroups, into the machine's cgroups, makes that namespace, and goes on as the
// command next. It must start anew for that: a cgroup namespace is entered by one
// thread, and its groups are the namespace's roots for that thread's children.
func Join(l spec.Lab, name, next string) error {
	if err := l.Cgroups.Join(name); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make the cgroup namespace: %w", err)
	}
	err := syscall.Exec("/proc/self/exe", []string{"lab", next, l.State.Dir, name}, os.Environ())
	return fmt.Errorf("start anew in the cgroup namespace: %w", err)
}

// Run is a machine's process 1. It returns only if something is wrong.
func Run(ctx context.Context, l spec.Lab, name string) error {
	if err := enterRoot(l, name); err != nil {
		return err
	}
	os.Clearenv()
	for _, kv := range Env {
		key, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(key, value); err != nil {
			return fmt.Errorf("set the environment: %w", err)
		}
	}
	gate := os.NewFile(GateFD, "gate")
	if _, err := io.Copy(io.Discard, gate); err != nil {
		return fmt.Errorf("wait for the network: %w", err)
	}
	gate.Close()

	services, err := services(l, name)
	if err != nil {
		return err
	}
	m := service.NewManager(logDir, services)
	failed := make(chan error, 1)
	go func() { failed <- m.Serve(ctx, service.Socket) }()
	go m.Run(ctx)
	return <-failed
}

func services(l spec.Lab, name string) ([]service.Service, error) {
	if name == plan.ControlPlane {
		return controlPlane()
	}
	node, ok := l.Node(name)
	if !ok {
		return nil, fmt.Errorf("the lab has no machine %s", name)
	}
	return worker(node)
}
