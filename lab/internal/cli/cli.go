// Package cli is the lab's command line.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/layout"
)

// exitError is the exit status of a command that was run for the user.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// app is what all commands share.
type app struct {
	cache layout.Cache
	state layout.State
}

// Main runs the command line and returns the exit status.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	root, err := newRoot()
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}

func newRoot() (*cobra.Command, error) {
	cache, state, err := layout.Default()
	if err != nil {
		return nil, err
	}
	a := app{cache: cache, state: state}
	root := &cobra.Command{
		Use:   "lab",
		Short: "A real Kubernetes cluster on one machine",
		Long: `A real Kubernetes cluster on one machine: a control plane and worker nodes in
namespaces, with etcd, RabbitMQ and a TLS registry. It needs Linux on x86-64 with
cgroup v1, root, and 12 GiB of disk the first time.

MS2M_CACHE    what is built once and reused (default ~/.cache/ms2m)
MS2M_LAB_DIR  the state of this lab (default $MS2M_CACHE/lab); several can be up`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		a.up(), a.down(), a.status(), a.build(), a.logs(), a.restart(), a.stop(), a.start(), a.paths(), a.deps(),
		a.kubectl(), a.run(), a.exec(), a.loadImage(),
		a.envtestAssets(), a.rabbitmq(), a.rabbitmqctl(),
		a.supervise(), a.join(), a.machine(), a.brokerInside(),
	)
	return root, nil
}
