package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ms2m.dev/ms2m/lab/internal/build"
	"ms2m.dev/ms2m/lab/internal/cluster"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/preflight"
)

func (a app) up() *cobra.Command {
	var nodes int
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build what is missing, start the cluster, wait until it is ready",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := preflight.Lab(a.cache, a.state, nodes); err != nil {
				return err
			}
			return cluster.Up(cmd.Context(), a.cache, a.state, nodes, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&nodes, "nodes", 2, fmt.Sprintf("number of worker nodes, at most %d", plan.MaxNodes))
	return cmd
}

func (a app) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take the cluster down, in whatever state it is, and check that nothing is left",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cluster.Down(cmd.Context(), a.state, cmd.OutOrStdout())
		},
	}
}

func (a app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the state of every component; exit 0 only if all are ready",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := cluster.Find(a.state)
			if err != nil {
				return err
			}
			report, err := r.Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := report.Write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !report.Ready() {
				return exitError(1)
			}
			return nil
		},
	}
}

func (a app) build() *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Build everything that up needs, without starting anything",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := preflight.Build(a.cache); err != nil {
				return err
			}
			_, _, err := cluster.Build(cmd.Context(), a.cache, cmd.OutOrStdout())
			return err
		},
	}
}

func (a app) deps() *cobra.Command {
	var install bool
	cmd := &cobra.Command{
		Use:   "deps",
		Short: "Name the host's packages that the lab needs, or install them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return preflight.Deps(cmd.Context(), install, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&install, "install", false, "install what is missing with apt-get (as root)")
	return cmd
}

func (a app) envtestAssets() *cobra.Command {
	return &cobra.Command{
		Use:   "envtest-assets",
		Short: "Build kube-apiserver, etcd and kubectl, and print the directory for KUBEBUILDER_ASSETS",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := build.Builder{Cache: a.cache, Progress: cmd.ErrOrStderr()}
			dir, err := b.EnvtestAssets(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), dir)
			return nil
		},
	}
}

func (a app) logs() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [COMPONENT[@MACHINE]]",
		Short: "List the logs, or print those of a component",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := filepath.Glob(filepath.Join(a.state.Logs(), "*", "*.log"))
			if err != nil {
				return err
			}
			all = append(all, filepath.Join(a.state.Logs(), "supervisor.log"))
			if len(args) == 0 {
				for _, path := range all {
					fmt.Fprintf(cmd.OutOrStdout(), "%-35s %s\n", a.component(path), path)
				}
				return nil
			}
			paths := slices.DeleteFunc(all, func(path string) bool { return !matches(a.component(path), args[0]) })
			if len(paths) == 0 {
				return fmt.Errorf("there is no log of %s: `lab logs` lists them", args[0])
			}
			return tail(paths, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what is written")
	return cmd
}

// component is the name of a log: kubelet@node-a.
func (a app) component(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".log")
	if dir := filepath.Dir(path); dir != a.state.Logs() {
		name += "@" + filepath.Base(dir)
	}
	return name
}

// matches says whether the component is meant: fully, or without the machine.
func matches(component, wanted string) bool {
	name, _, _ := strings.Cut(component, "@")
	return component == wanted || name == wanted
}

// tail goes on as tail(1), which knows how to follow a file that is replaced.
func tail(paths []string, follow bool) error {
	args := []string{"tail", "--lines=+1"}
	if follow {
		args = append(args, "--follow=name", "--retry")
	}
	return fmt.Errorf("print the logs: %w", syscall.Exec("/usr/bin/tail", append(args, paths...), os.Environ()))
}
