// Command inlab runs a command in a lab with images of the programs in bin/:
// it brings the lab up, pushes the images, runs the command, and takes the lab
// down again, whatever became of the command. A lab that was up before stays.
//
//	inlab [-keep] [-bin DIR] [-nodes N] -- COMMAND [ARGS...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ms2m.dev/ms2m/test/harness"
)

func main() {
	keep := flag.Bool("keep", false, "leave the lab up")
	bin := flag.String("bin", "bin", "`directory` of the programs")
	nodes := flag.Int("nodes", 2, "`number` of nodes, if the lab is brought up")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "inlab: which command?")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *bin, *nodes, *keep, flag.Args()); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() > 0 {
			os.Exit(exit.ExitCode()) // the command has said why
		}
		fmt.Fprintln(os.Stderr, "inlab:", err)
		os.Exit(1)
	}
}

// runner runs commands of the lab.
type runner struct {
	bin string
	env []string
}

func run(ctx context.Context, bin string, nodes int, keep bool, command []string) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	r := &runner{bin: bin, env: os.Environ()}
	if _, err := r.lab(ctx, "status").Output(); err != nil {
		fmt.Println("bringing the lab up")
		if !keep {
			defer func() {
				if failed := r.down(); failed != nil {
					fmt.Fprintln(os.Stderr, "inlab:", failed)
					err = errors.Join(err, failed)
				}
			}()
		}
		up := r.lab(ctx, "up", "--nodes", strconv.Itoa(nodes))
		up.Stdout, up.Stderr = os.Stdout, os.Stderr
		if err := up.Run(); err != nil {
			return fmt.Errorf("lab up: %w", err)
		}
	}
	if err := r.images(ctx); err != nil {
		return err
	}
	cmd := r.lab(ctx, append([]string{"run", "--"}, command...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	if keep {
		r.explain()
	}
	return err
}

// lab is a command of the lab. It is asked to end when ctx does, and has time
// to clean up.
func (r *runner) lab(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(r.bin, "lab"), args...)
	cmd.Env = r.env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Minute
	return cmd
}

// images pushes the images and tells the command about them.
func (r *runner) images(ctx context.Context) error {
	path := func(program string) string { return filepath.Join(r.bin, program) }
	r.env = append(r.env, harness.EnvLab+"="+path("lab"))
	for _, image := range []struct {
		env, name string
		args      []string
	}{
		{harness.EnvManagerImage, "manager:dev", []string{"--binary", path("manager")}},
		{harness.EnvFailpoints, "manager:failpoints", []string{"--binary", path("manager-failpoints") + ":/manager"}},
		{harness.EnvAgentImage, "node-agent:dev", []string{"--binary", path("node-agent"),
			"--file", path("containerd-shim-ms2m-v1") + ":/containerd-shim-ms2m-v1"}},
		{harness.EnvCounterImage, "counter:dev", []string{"--binary", path("counter")}},
		{harness.EnvExchange, "exchange:dev", []string{"--binary", path("exchange")}},
		{harness.EnvDispatch, "dispatch:dev", []string{"--binary", path("dispatch")}},
		{harness.EnvCSIImage, "csi:dev", []string{"--binary", path("csi")}},
	} {
		load := r.lab(ctx, append([]string{"load-image", image.name}, image.args...)...)
		load.Stderr = os.Stderr
		out, err := load.Output()
		if err != nil {
			return fmt.Errorf("push %s: %w", image.name, err)
		}
		r.env = append(r.env, image.env+"="+strings.TrimSpace(string(out)))
	}
	return nil
}

// down takes the lab down, also after an interrupt.
func (r *runner) down() error {
	if out, err := r.lab(context.Background(), "down").CombinedOutput(); err != nil {
		return fmt.Errorf("lab down: %w: %s", err, out)
	}
	fmt.Println("the lab is down, nothing is left")
	return nil
}

func (r *runner) explain() {
	lab := filepath.Join(r.bin, "lab")
	fmt.Printf(`
The lab is still up. To look around:
  %[1]s status
  %[1]s kubectl get statefulmigrations,pods -A -o wide
  %[1]s kubectl describe statefulmigration -n ms2m-demo
  %[1]s kubectl logs -n ms2m-system deployment/ms2m-manager
  %[1]s exec ctl -- rabbitmqctl list_queues name messages
  %[1]s down
`, lab)
}
