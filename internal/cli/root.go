// Package cli is `kubectl ms2m`: the verbs, what they print, and what they say
// when something is in the way.
//
// What is printed is made by pure functions of the objects and the time (the files
// *_view.go, frame.go, advice.go, plan.go); the verbs read, write and wait.
package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Exit codes, beside 0.
const (
	exitNo      = 1 // the answer is no: it cannot be moved, the migration failed, a pod remains
	exitError   = 2 // it could not be found out or asked for
	exitUnended = 3 // the time is up, or somebody pressed Ctrl-C: it goes on
)

const plugin = "kubectl-ms2m"

// env is what every verb has.
type env struct {
	genericiooptions.IOStreams
	name    string // as it was called, for what it says to type next
	flags   *genericclioptions.ConfigFlags
	scheme  *runtime.Scheme
	clock   clock.WithTicker
	connect func() (client.WithWatch, error)
}

// exit is an error that says with which code to end.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

func failed(format string, args ...any) error { return &exit{exitNo, fmt.Errorf(format, args...)} }

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	log.SetLogger(logr.Discard()) // controller-runtime's, which complains if it has none
	e := newEnv(streams, called(args[0]))
	return e.run(ctx, args[1:])
}

func (e *env) run(ctx context.Context, args []string) int {
	cmd := e.root()
	cmd.SetArgs(args)
	cmd.SetIn(e.In)
	cmd.SetOut(e.Out)
	cmd.SetErr(e.ErrOut)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(e.ErrOut, "error:", strings.TrimRight(e.explain(err), "\n"))
	var ended *exit
	if errors.As(err, &ended) {
		return ended.code
	}
	return exitError
}

// called is how the program was called: as a plugin of kubectl, or by its own name.
func called(arg0 string) string {
	name := strings.TrimSuffix(filepath.Base(arg0), ".exe")
	if name == plugin {
		return "kubectl ms2m"
	}
	return name
}

func newEnv(streams genericiooptions.IOStreams, name string) *env {
	e := &env{
		IOStreams: streams, name: name, clock: clock.RealClock{},
		flags: genericclioptions.NewConfigFlags(true), scheme: runtime.NewScheme(),
	}
	if err := errors.Join(clientgoscheme.AddToScheme(e.scheme), v1alpha1.AddToScheme(e.scheme)); err != nil {
		panic(err) // the types are ours and client-go's
	}
	e.connect = func() (client.WithWatch, error) {
		cfg, err := e.flags.ToRESTConfig()
		if err != nil {
			return nil, err
		}
		cfg.QPS, cfg.Burst = 50, 100 // evacuating a node is many small calls
		cfg.WarningHandler = rest.NewWarningWriter(e.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
		return client.NewWithWatch(cfg, client.Options{Scheme: e.scheme})
	}
	return e
}

// root is the command line.
func (e *env) root() *cobra.Command {
	use := plugin
	if !strings.Contains(e.name, " ") {
		use = e.name
	}
	cmd := &cobra.Command{
		Use:   use,
		Short: "Move stateful pods between nodes while they work",
		Long: `Move stateful pods between nodes while they work.

MS2M takes a running pod that is fed by a message queue to another node with the
contents of its memory, without losing, doubling or reordering a message.

Exit codes: 0 done; 1 the answer is no (the pod cannot be moved, the migration
failed, a pod remains); 2 it could not be found out; 3 the time is up and it goes on.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: e.name},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	e.flags.AddFlags(cmd.PersistentFlags())
	cmd.AddCommand(e.verbs()...)
	complete(cmd, "namespace", e.completing(namespaces))
	complete(cmd, "context", e.contexts)
	return cmd
}

func (e *env) verbs() []*cobra.Command {
	return []*cobra.Command{
		e.preflightCommand(), e.migrateCommand(), e.evacuateCommand(), e.statusCommand(), e.listCommand(), e.cancelCommand(), e.reportCommand(), e.versionCommand(),
	}
}

// namespace is the one that is worked in.
func (e *env) namespace() (string, error) {
	ns, _, err := e.flags.ToRawKubeConfigLoader().Namespace()
	return ns, err
}

// open gives the client and the namespace.
func (e *env) open() (client.WithWatch, string, error) {
	c, err := e.connect()
	if err != nil {
		return nil, "", err
	}
	ns, err := e.namespace()
	return c, ns, err
}

// since is how long ago something was, without what nobody reads.
func since(from, to time.Time) time.Duration { return max(to.Sub(from), 0) }
