package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"ms2m.dev/ms2m/lab/internal/cluster"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/service"
)

func (a app) restart() *cobra.Command {
	var signal string
	cmd := a.toService("restart", "End a component; its machine starts it again (pods live on)",
		func(ctx context.Context, c service.Client, name string) error { return c.Signal(ctx, name, signal) })
	cmd.Flags().StringVar(&signal, "signal", "SIGTERM", "what to end it with; SIGKILL for a crash")
	return cmd
}

func (a app) stop() *cobra.Command {
	var signal string
	cmd := a.toService("stop", "End a component and keep it stopped, until start (pods live on)",
		func(ctx context.Context, c service.Client, name string) error { return c.Stop(ctx, name, signal) })
	cmd.Flags().StringVar(&signal, "signal", "SIGTERM", "what to end it with; SIGKILL for a crash")
	return cmd
}

func (a app) start() *cobra.Command {
	return a.toService("start", "Let a stopped component run again",
		func(ctx context.Context, c service.Client, name string) error { return c.Start(ctx, name) })
}

// toService is a command that does something to a component.
func (a app) toService(verb, short string, do func(context.Context, service.Client, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " COMPONENT[@MACHINE]",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := cluster.Find(a.state)
			if err != nil {
				return err
			}
			name, machine, found := strings.Cut(args[0], "@")
			if !found {
				machine = plan.ControlPlane
			}
			client, err := r.Client(machine)
			if err != nil {
				return err
			}
			return do(cmd.Context(), client, name)
		},
	}
}
