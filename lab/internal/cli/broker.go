package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/broker"
	"ms2m.dev/ms2m/lab/internal/preflight"
	"ms2m.dev/ms2m/lab/internal/rootfs"
)

func (a app) rabbitmq() *cobra.Command {
	var p broker.Private
	cmd := &cobra.Command{
		Use:   "rabbitmq --port PORT [--dir DIR]",
		Short: "Run a RabbitMQ of one's own on the host's loopback, in the foreground",
		Long: `Run a RabbitMQ of one's own on 127.0.0.1:PORT of the host, in the foreground, with
the user ms2m and the password ms2m-lab. It prints "ready" when it lets that user
in. It ends with SIGTERM, SIGINT, or the process that started it, and leaves nothing;
with --dir, its data stays in DIR, for another run, and rabbitmqctl can be used.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, err := withParent(cmd.Context())
			if err != nil {
				return err
			}
			if err := preflight.Broker(a.cache); err != nil {
				return err
			}
			if p.Rootfs, err = rootfs.Ensure(ctx, a.cache, cmd.ErrOrStderr()); err != nil {
				return err
			}
			return p.Run(ctx, cmd.OutOrStdout(), os.Stderr)
		},
	}
	cmd.Flags().IntVar(&p.Port, "port", 0, "the port to serve AMQP on")
	cmd.Flags().StringVar(&p.Dir, "dir", "", "where to keep the data")
	if err := cmd.MarkFlagRequired("port"); err != nil {
		panic(err) // the flag is defined just above
	}
	return cmd
}

func (a app) rabbitmqctl() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "rabbitmqctl --dir DIR [--] ARGS...",
		Short: "Run rabbitmqctl against the broker that `lab rabbitmq --dir DIR` runs",
		RunE: func(_ *cobra.Command, args []string) error {
			status, err := broker.Control(dir, args)
			if err == nil && status != 0 {
				return exitError(status)
			}
			return err
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&dir, "dir", "", "the directory of the broker")
	if err := cmd.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag is defined just above
	}
	return cmd
}

func (a app) brokerInside() *cobra.Command {
	return &cobra.Command{
		Use:    broker.PrivateCommand,
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return broker.RunInside(args[0]) },
	}
}

// withParent returns a context that ends when this process's parent does. The
// signal that the kernel offers for that is sent when the parent's thread ends,
// which in a Go program may be at any time.
func withParent(ctx context.Context) (context.Context, error) {
	fd, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		return nil, fmt.Errorf("watch the process that started this one: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n > 0 || !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return ctx, nil
}
