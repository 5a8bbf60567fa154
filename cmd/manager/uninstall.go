package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/uninstall"
)

// uninstallCommand is the manager's other work: `manager uninstall`, once, before it is deleted.
const uninstallCommand = "uninstall"

func runUninstall(args []string) error {
	u := &uninstall.Uninstaller{Log: logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet(uninstallCommand, flag.ContinueOnError)
	flags.StringVar(&u.Namespace, "namespace", "ms2m-system", "namespace of the manager")
	flags.StringVar(&u.AgentNamespace, "agent-namespace", "ms2m-nodes", "namespace of the node agents")
	flags.BoolVar(&u.KeepNodes, "keep-nodes", false, "leave shim, handler and CRIU's options on the nodes")
	timeout := flags.Duration("timeout", 3*time.Minute, "how long the agents may take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctrl.SetLogger(u.Log)
	ctx, cancel := context.WithTimeout(ctrl.SetupSignalHandler(), *timeout)
	defer cancel()
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if u.Client, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	return u.Run(ctx)
}
