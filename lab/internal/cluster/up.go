// Package cluster brings a lab up and takes it down.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/build"
	"ms2m.dev/ms2m/lab/internal/cgroup"
	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/proc"
	"ms2m.dev/ms2m/lab/internal/rootfs"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// unreadyTimeout is how long up waits for a lab that is up, but not ready.
const unreadyTimeout = 10 * time.Second

// Up builds what is missing, starts a lab with this number of nodes, and waits
// until it can be used.
func Up(ctx context.Context, cache layout.Cache, state layout.State, nodes int, out io.Writer) error {
	planned, err := plan.Nodes(nodes)
	if err != nil {
		return err
	}
	unlock, err := layout.TryLock(state.Lock())
	if err != nil {
		return fmt.Errorf("another `lab up` or `lab down` works on this lab: %w", err)
	}
	defer unlock()
	if done, err := alreadyUp(ctx, state, nodes, out); done || err != nil {
		return err
	}
	l := spec.Lab{ID: spec.ID(state), State: state, Nodes: planned}
	if l.Rootfs, l.Binaries, err = Build(ctx, cache, out); err != nil {
		return err
	}
	steps := newSteps(out)
	supervisor, err := launch(&l)
	if err != nil {
		return err
	}
	steps.done("machines started")
	return waitReady(ctx, l, supervisor, steps)
}

// alreadyUp says whether there is nothing to do; it clears away a dead lab.
func alreadyUp(ctx context.Context, state layout.State, nodes int, out io.Writer) (bool, error) {
	l, err := spec.Read(state)
	if errors.Is(err, spec.ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	dead := false
	// Not ready may mean just started again, or just dying.
	patient, cancel := context.WithTimeoutCause(ctx, unreadyTimeout, errors.New("run `lab down` first"))
	defer cancel()
	err = poll(patient, "the lab that is up", func(ctx context.Context) error {
		r, err := find(l)
		if dead = errors.Is(err, ErrDown); dead {
			return nil
		}
		if err != nil {
			return err
		}
		return r.ready(ctx)
	})
	switch {
	case err != nil:
		return false, err
	case dead:
		fmt.Fprintln(out, "clearing away a lab that has died")
		return false, destroy(ctx, state, out)
	case len(l.Nodes) != nodes:
		return false, fmt.Errorf("a lab with %d nodes is up: run `lab down` first", len(l.Nodes))
	}
	fmt.Fprintln(out, "already up")
	return true, nil
}

// Build makes sure that everything a lab is made of is in the cache.
func Build(ctx context.Context, cache layout.Cache, out io.Writer) (string, spec.Binaries, error) {
	b := build.Builder{Cache: cache, Progress: out}
	var root string
	var bin spec.Binaries
	// The root file system is mostly download, the programs mostly computation. The
	// programs follow each other: each takes all processors.
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		root, err = rootfs.Ensure(ctx, cache, out)
		return err
	})
	g.Go(func() (err error) {
		if bin.CRIU, err = b.CRIU(ctx); err != nil {
			return err
		}
		if bin.Pause, err = b.Pause(ctx); err != nil {
			return err
		}
		if bin.Containerd, err = b.Binaries(ctx, build.Containerd(), build.Containerd().Names()...); err != nil {
			return err
		}
		bin.Kubernetes, err = b.Binaries(ctx, build.Kubernetes(), build.Kubernetes().Names()...)
		return err
	})
	return root, bin, g.Wait()
}

// launch starts the supervisor and completes the record. The record is written
// before anything else is made, so that down finds it.
func launch(l *spec.Lab) (*exec.Cmd, error) {
	var err error
	if l.Cgroups, err = cgroup.Discover(l.ID); err != nil {
		return nil, err
	}
	if err := l.Write(); err != nil {
		return nil, err
	}
	// Left from a lab that went down cleanly: its logs, and nothing else.
	for _, dir := range []string{l.State.Logs(), l.State.Machines(), l.State.PKI()} {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("clear the lab's directory: %w", err)
		}
	}
	if err := issue(*l); err != nil {
		return nil, err
	}
	for _, name := range append(l.Machines(), supervisorGroup) {
		if err := l.Cgroups.Create(name); err != nil {
			return nil, err
		}
	}
	cmd, err := startSupervisor(*l)
	if err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	if l.Supervisor, err = proc.Get(cmd.Process.Pid); err != nil {
		return nil, fmt.Errorf("look at the supervisor: %w", err)
	}
	return cmd, l.Write()
}

func startSupervisor(l spec.Lab) (*exec.Cmd, error) {
	if err := os.MkdirAll(l.State.Logs(), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(supervisorLog(l.State))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", SuperviseCommand, l.State.Dir)
	cmd.Args[0] = "lab"
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	return cmd, cmd.Start()
}

func supervisorLog(s layout.State) string { return filepath.Join(s.Logs(), "supervisor.log") }
