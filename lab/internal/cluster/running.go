package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"ms2m.dev/ms2m/lab/internal/enter"
	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/machine"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/proc"
	"ms2m.dev/ms2m/lab/internal/service"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// ErrDown says that the lab's supervisor is dead.
var ErrDown = errors.New("the lab is not running any more: run `lab down`, then `lab up`")

// Running is a lab whose machines can be reached.
type Running struct {
	spec.Lab
	pids map[string]int // of each machine's process 1, as the host sees it
}

// Find returns the lab of the state directory, if it runs.
func Find(s layout.State) (Running, error) {
	l, err := spec.Read(s)
	if err != nil {
		return Running{}, err
	}
	return find(l)
}

func find(l spec.Lab) (Running, error) {
	if !l.Supervisor.Alive() {
		return Running{}, ErrDown
	}
	children, err := proc.Children(l.Supervisor.PID)
	if err != nil {
		return Running{}, fmt.Errorf("look for the machines: %w", err)
	}
	r := Running{Lab: l, pids: map[string]int{}}
	for pid, args := range children {
		if len(args) == 4 && args[1] == MachineCommand {
			r.pids[args[3]] = pid
		}
	}
	return r, nil
}

// PID is that of the machine's process 1.
func (r Running) PID(name string) (int, error) {
	pid, ok := r.pids[name]
	if !ok {
		return 0, fmt.Errorf("no machine %q is running; there should be %v", name, r.Machines())
	}
	return pid, nil
}

// Client asks the machine's manager of services.
func (r Running) Client(name string) (service.Client, error) {
	pid, err := r.PID(name)
	if err != nil {
		return service.Client{}, err
	}
	// The machine's root is reached through its process, from outside.
	return service.NewClient(filepath.Join("/proc", strconv.Itoa(pid), "root", service.Socket)), nil
}

// Dialer dials in the control plane's network.
func (r Running) Dialer() (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	pid, err := r.PID(plan.ControlPlane)
	if err != nil {
		return nil, err
	}
	return enter.Dialer(pid), nil
}

// Exec runs the command in the machine and returns its exit status.
func (r Running) Exec(name string, args []string) (int, error) {
	pid, err := r.PID(name)
	if err != nil {
		return 0, err
	}
	return enter.Command{
		PID: pid, Args: args, Env: machine.Env, Dir: "/",
		Join: func() error { return r.Cgroups.Join(name) },
	}.Run()
}
