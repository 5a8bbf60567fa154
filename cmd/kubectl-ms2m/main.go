// Command kubectl-ms2m is the plugin `kubectl ms2m`, and under another name a
// program by itself: it moves stateful pods, shows how far they are, and empties
// nodes. See docs/cli.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"ms2m.dev/ms2m/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := cli.Main(ctx, streams, os.Args)
	stop()
	os.Exit(code)
}
