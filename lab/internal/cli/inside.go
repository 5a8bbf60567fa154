package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ms2m.dev/ms2m/lab/internal/build"
	"ms2m.dev/ms2m/lab/internal/cluster"
	"ms2m.dev/ms2m/lab/internal/enter"
	"ms2m.dev/ms2m/lab/internal/image"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/rootfs"
	"ms2m.dev/ms2m/lab/internal/spec"
)

func (a app) kubectl() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl [--] ARGS...",
		Short:              "Run kubectl against the cluster",
		DisableFlagParsing: true, // they are kubectl's
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] == "--" {
				args = args[1:]
			}
			return a.inNetwork(append([]string{"kubectl"}, args...))
		},
	}
}

func (a app) run() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [--] CMD [ARGS...]",
		Short: "Run a command of the host's in the cluster's network",
		Long: `Run a command of the host's in the cluster's network, that of the control plane.
It finds KUBECONFIG, SSL_CERT_FILE (the host's authorities and the lab's),
MS2M_LAB_REGISTRY, MS2M_LAB_AMQP_URL and the cluster's kubectl in its environment.
The network leads nowhere else: fetch what has to be fetched before.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.inNetwork(args) },
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// inNetwork goes on as the command.
func (a app) inNetwork(args []string) error {
	r, err := cluster.Find(a.state)
	if err != nil {
		return err
	}
	pid, err := r.PID(plan.ControlPlane)
	if err != nil {
		return err
	}
	return enter.ExecNet(pid, args, hostEnv(r.Lab, os.Environ()))
}

// hostEnv adds what a program of the host's needs to use the lab.
func hostEnv(l spec.Lab, env []string) []string {
	set := map[string]string{
		"KUBECONFIG":        l.State.Kubeconfig(),
		"SSL_CERT_FILE":     l.State.CABundle(),
		"CURL_CA_BUNDLE":    l.State.CABundle(), // where it is set, curl heeds nothing else
		"MS2M_LAB_REGISTRY": plan.Registry,
		"MS2M_LAB_AMQP_URL": plan.AMQP,
		"PATH":              l.Binaries.Kubernetes + ":" + os.Getenv("PATH"),
	}
	var out []string
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		if _, ours := set[key]; !ours {
			out = append(out, kv)
		}
	}
	for key, value := range set {
		out = append(out, key+"="+value)
	}
	return out
}

func (a app) exec() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec MACHINE [--] CMD [ARGS...]",
		Short: "Run a command in a machine: ctl, node-a, ...",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := cluster.Find(a.state)
			if err != nil {
				return err
			}
			command := args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return fmt.Errorf("say which command to run in %s", args[0])
			}
			status, err := r.Exec(args[0], command)
			if err == nil && status != 0 {
				return exitError(status)
			}
			return err
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a app) loadImage() *cobra.Command {
	var binary, entrypoint string
	var files []string
	var s image.Spec
	cmd := &cobra.Command{
		Use:   "load-image NAME:TAG",
		Short: "Make an image of files and push it to the cluster's registry",
		Long: `Make an image of one layer, from nothing but the files given, /etc/passwd,
/etc/group, /tmp and the certificates that the lab trusts, and push it to the
cluster's registry. Prints its reference by digest.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := cluster.Find(a.state)
			if err != nil {
				return err
			}
			if binary != "" {
				source, target, found := strings.Cut(binary, ":")
				if !found {
					target = "/" + filepath.Base(source)
				}
				s.Files = append(s.Files, image.File{Source: source, Target: target})
				s.Entrypoint = []string{target}
			}
			for _, f := range files {
				source, target, found := strings.Cut(f, ":")
				if !found {
					return fmt.Errorf("--file %s: say SOURCE:TARGET", f)
				}
				s.Files = append(s.Files, image.File{Source: source, Target: target})
			}
			if entrypoint != "" {
				s.Entrypoint = strings.Fields(entrypoint)
			}
			if len(s.Files) == 0 {
				return fmt.Errorf("say with --binary or --file what the image is made of")
			}
			if s.CABundle, err = os.ReadFile(r.State.CABundle()); err != nil {
				return fmt.Errorf("read the trusted certificates: %w", err)
			}
			img, err := image.Build(s)
			if err != nil {
				return err
			}
			transport, err := r.Transport()
			if err != nil {
				return err
			}
			reference, err := image.Push(cmd.Context(), plan.Registry+"/"+args[0], img, transport)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), reference)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&binary, "binary", "", "the program, PATH[:TARGET]; it is the entry point unless another is given")
	f.StringArrayVar(&files, "file", nil, "a file or directory, SOURCE:TARGET")
	f.StringVar(&entrypoint, "entrypoint", "", "the entry point and its arguments, separated by spaces")
	f.StringArrayVar(&s.Env, "env", nil, "an environment variable, K=V")
	f.StringVar(&s.User, "user", "", "the user to run as")
	return cmd
}

func (a app) paths() *cobra.Command {
	return &cobra.Command{
		Use:   "paths",
		Short: "Print where things are, as KEY=VALUE",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := build.Builder{Cache: a.cache}
			kubernetes, err := b.Dir(cmd.Context(), build.Kubernetes())
			if err != nil {
				return err
			}
			containerd, err := b.Dir(cmd.Context(), build.Containerd())
			if err != nil {
				return err
			}
			for _, kv := range [][2]string{
				{"CACHE", a.cache.Dir},
				{"BIN", a.cache.Bin()},
				{"STATE", a.state.Dir},
				{"KUBECONFIG", a.state.Kubeconfig()},
				{"CA", a.state.CACert()},
				{"CA_BUNDLE", a.state.CABundle()},
				{"LOGS", a.state.Logs()},
				{"ROOTFS", rootfs.Dir(a.cache)},
				{"KUBERNETES_BIN", kubernetes},
				{"CONTAINERD_BIN", containerd},
			} {
				fmt.Fprintf(cmd.OutOrStdout(), "%s=%s\n", kv[0], kv[1])
			}
			return nil
		},
	}
}
