// Command sample shows a service of samples/: it deploys MS2M in the lab that it runs in and
// the service as its manifests say, sends it messages, moves it to another node meanwhile,
// and tells whether everything came out right. `make sample SAMPLE=exchange` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

func main() {
	chart := flag.String("chart", "charts/ms2m", "`directory` of the chart to install")
	samples := flag.String("samples", "samples", "`directory` of the samples")
	keep := flag.Bool("keep", false, "leave the service as it is at the end")
	timeout := flag.Duration("timeout", 3*time.Minute, "bound on the whole")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintf(os.Stderr, "sample: which? There are: %s\n", strings.Join(harness.Samples(), ", "))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("not done in %v", *timeout))
	defer cancel()
	if err := run(ctx, *chart, *samples, flag.Arg(0), *keep); err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
		os.Exit(1)
	}
}

var errVerdict = errors.New("the migration is not good")

func run(ctx context.Context, chart, directory, name string, keep bool) (err error) {
	lab, err := harness.Open()
	if err != nil {
		return err
	}
	begin := time.Now()
	line := func(format string, args ...any) {
		fmt.Printf("%6.1f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	if err := lab.Deploy(ctx, chart); err != nil {
		return fmt.Errorf("deploy MS2M: %w", err)
	}
	line("MS2M is ready")
	s, err := lab.StartSample(ctx, directory, name)
	if s != nil && !keep {
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			err = errors.Join(err, s.Close(ctx))
		}()
	}
	if err != nil {
		return err
	}
	line("%s runs, %d results have come", name, s.Drive.Count())
	var phase v1alpha1.MigrationPhase
	j, err := s.Move(ctx, func(m *v1alpha1.StatefulMigration) {
		if m.Status.Phase != phase && m.Status.Phase != "" {
			phase = m.Status.Phase
			line("  %-13s  %d results", phase, s.Drive.Count())
		}
	})
	if err != nil {
		return err
	}
	line("%s moved from %s to %s", name, s.From, s.To)
	for _, p := range j.Problems {
		fmt.Println("problem:", p)
	}
	if keep {
		fmt.Printf("\n%s stays in namespace %s\n", name, s.Namespace())
	}
	fmt.Println("\nverdict:", j.Verdict)
	if !j.OK {
		return errVerdict
	}
	return nil
}
