package cli

import (
	"context"

	"github.com/spf13/cobra"

	"ms2m.dev/ms2m/lab/internal/cluster"
	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/machine"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// The commands with which the lab starts itself in namespaces. They take the state
// directory as their first argument, not from the environment.

func (a app) supervise() *cobra.Command {
	return hidden(cluster.SuperviseCommand, 1, func(l spec.Lab, _ []string) error {
		return cluster.Supervise(l)
	})
}

func (a app) join() *cobra.Command {
	return hidden(cluster.JoinCommand, 2, func(l spec.Lab, args []string) error {
		return machine.Join(l, args[1], cluster.MachineCommand)
	})
}

func (a app) machine() *cobra.Command {
	return hidden(cluster.MachineCommand, 2, func(l spec.Lab, args []string) error {
		// Not the command's context: a signal from inside must not end the machine.
		return machine.Run(context.Background(), l, args[1])
	})
}

func hidden(name string, args int, run func(spec.Lab, []string) error) *cobra.Command {
	return &cobra.Command{
		Use:    name,
		Hidden: true,
		Args:   cobra.ExactArgs(args),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := spec.Read(layout.State{Dir: args[0]})
			if err != nil {
				return err
			}
			return run(l, args)
		},
	}
}
