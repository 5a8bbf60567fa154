// Package harness drives MS2M in a running lab, from inside `lab run`: it
// deploys the manager and the agents, runs counters under load, migrates them
// and looks at what has become of them. The demo and the end-to-end tests are
// made of it.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Environment variables by which a program inside the lab finds its way. The
// first three are set by `lab run`, the others by cmd inlab.
const (
	EnvKubeconfig   = "KUBECONFIG"
	EnvRegistry     = "MS2M_LAB_REGISTRY"
	EnvBroker       = "MS2M_LAB_AMQP_URL"
	EnvLab          = "MS2M_LAB"
	EnvManagerImage = "MS2M_MANAGER_IMAGE"
	EnvAgentImage   = "MS2M_AGENT_IMAGE"
	EnvCounterImage = "MS2M_COUNTER_IMAGE"
	EnvExchange     = "MS2M_EXCHANGE_IMAGE"
	EnvDispatch     = "MS2M_DISPATCH_IMAGE"
	EnvCSIImage     = "MS2M_CSI_IMAGE"
	EnvFailpoints   = "MS2M_FAILPOINTS_IMAGE"
)

// Names of the lab's nodes. The demo's lab has the first two.
const (
	NodeA = "node-a"
	NodeB = "node-b"
	NodeC = "node-c"
)

// Lab is a running lab.
type Lab struct {
	Client    client.WithWatch
	BrokerURL string
	Registry  string // host:port
	Images    Images

	command   string // the lab's own program
	authority []byte // that signed the certificates of API server and registry
}

// Images are references by digest.
type Images struct{ Manager, Agent, Counter, Exchange, Dispatch, CSI, Failpoints string }

// Open finds the lab that this process runs in.
func Open() (*Lab, error) {
	var missing []string
	env := func(name string) string {
		v := os.Getenv(name)
		if v == "" {
			missing = append(missing, name)
		}
		return v
	}
	kubeconfig := env(EnvKubeconfig)
	l := &Lab{
		BrokerURL: env(EnvBroker),
		Registry:  env(EnvRegistry),
		Images:    Images{Manager: env(EnvManagerImage), Agent: env(EnvAgentImage), Counter: env(EnvCounterImage), Exchange: env(EnvExchange), Dispatch: env(EnvDispatch), CSI: env(EnvCSIImage), Failpoints: env(EnvFailpoints)},
		command:   env(EnvLab),
	}
	if missing != nil {
		return nil, fmt.Errorf("not inside the lab (no %s): run it by `make demo` or `make e2e`", strings.Join(missing, ", "))
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	l.authority = config.CAData
	config.QPS = -1 // the API server's own flow control is enough
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	l.Client, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	return l, err
}

// Exec runs a command in a machine of the lab (ctl, node-a, node-b) and returns
// its output.
func (l *Lab) Exec(ctx context.Context, machine string, command ...string) (string, error) {
	return output(ctx, nil, l.command, append([]string{"exec", machine, "--"}, command...)...)
}

// output runs a program and returns what it prints; its error holds what it
// complains of.
func output(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	if stdin != nil {
		cmd.Stdin = strings.NewReader(string(stdin))
	}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// Restart kills a component of the lab (rabbitmq, containerd@node-a, …); its
// machine starts it again.
func (l *Lab) Restart(ctx context.Context, component string) error {
	_, err := output(ctx, nil, l.command, "restart", component, "--signal", "SIGKILL")
	return err
}
