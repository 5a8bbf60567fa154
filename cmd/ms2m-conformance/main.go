// Command ms2m-conformance drives an implementation of the hand-over protocol
// through a broker and says what it gets wrong. See docs/conformance.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ms2m.dev/ms2m/internal/conformance"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ms2m-conformance:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	cfg := conformance.Config{}
	var run string
	var parallel int
	cmd := &cobra.Command{
		Use:   "ms2m-conformance --url amqp://... [flags] -- COMMAND [ARGS...]",
		Short: "Say what an implementation of the hand-over protocol gets wrong",
		Long: `Drive an implementation of the hand-over protocol through a RabbitMQ and say what it gets
wrong, a line for each clause. COMMAND starts the implementation, with the service that
docs/conformance.md describes; it is started once for each scenario. The exit code is 1
if a clause does not hold.`,
		Args:          cobra.MinimumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			only, err := regexp.Compile(run)
			if err != nil {
				return fmt.Errorf("--run: %w", err)
			}
			cfg.Command = args
			if cfg.Dir == "" {
				cfg.Dir, err = os.MkdirTemp("", "ms2m-conformance-")
			} else {
				err = os.MkdirAll(cfg.Dir, 0o750)
			}
			if err != nil {
				return err
			}
			if !conformance.Run(cmd.Context(), cfg, only, parallel, cmd.OutOrStdout()) {
				return errors.New("the implementation does not conform")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.URL, "url", "amqp://guest:guest@127.0.0.1:5672/", "the broker, without TLS")
	f.StringVar(&cfg.Dir, "dir", "", "where logs go; by default a new directory")
	f.DurationVar(&cfg.Patience, "patience", 10*time.Second, "how long an answer may take")
	f.BoolVar(&cfg.NoDigest, "no-digest", false, "the service gives no digest of its state")
	f.StringVar(&run, "run", "", "only scenarios whose name matches this `pattern`")
	f.IntVar(&parallel, "parallel", 4, "scenarios at once")
	return cmd
}
