// Command pause measures what the pause at a checkpoint is made of, in the lab that
// it runs in. It has one counter checkpointed again and again, as the manager does
// it, in three ways by turns:
//
//	answer  the source goes on when the kubelet has answered
//	frozen  RESUME is sent when the container is frozen for CRIU; containerd lets it go on
//	thaw    the same, and the agent lets the container go on when CRIU has ended
//
// and prints the medians of each part and way. `make pause` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"ms2m.dev/ms2m/test/harness"
)

func main() {
	chart := flag.String("chart", "charts/ms2m", "`directory` of the chart to install")
	rounds := flag.Int("rounds", 12, "`number` of checkpoints in each way")
	sizes := flag.String("sizes", "0,10,100,500", "memory that the counter carries, in `MiB`, one series for each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *chart, *sizes, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "pause:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, chart, sizes string, rounds int) error {
	lab, err := harness.Open()
	if err != nil {
		return err
	}
	if err := lab.Deploy(ctx, chart); err != nil {
		return fmt.Errorf("deploy MS2M: %w", err)
	}
	for size := range strings.SplitSeq(sizes, ",") {
		mib, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		b, err := newBench(ctx, lab, mib)
		if err != nil {
			return fmt.Errorf("%d MiB: %w", mib, err)
		}
		samples, err := b.series(ctx, rounds)
		if err = errors.Join(err, b.close()); err != nil {
			return fmt.Errorf("%d MiB: %w", mib, err)
		}
		fmt.Printf("\n%d MiB, medians of %d checkpoints each, in milliseconds\n\n", mib, rounds)
		print(os.Stdout, samples)
	}
	return nil
}
