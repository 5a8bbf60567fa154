package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/enter"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/proc"
	"ms2m.dev/ms2m/lab/internal/service"
)

// PrivateCommand is the hidden command that a private broker's process 1 runs.
const PrivateCommand = "_broker"

const (
	startTimeout = 2 * time.Minute
	readyPoll    = 50 * time.Millisecond
)

// Private is a broker of one's own in the host's network, on the loopback. It
// lives as long as the process that runs it.
type Private struct {
	Rootfs string
	Port   int
	// Dir, if set, keeps the data, and what rabbitmqctl must know. Otherwise the
	// data is in memory and gone with the broker.
	Dir string
}

// record is what is written to Dir for rabbitmqctl.
type record struct {
	Process proc.ID `json:"process"`
}

func recordFile(dir string) string { return filepath.Join(dir, "broker.json") }

// config is what the process inside has to know.
type config struct {
	Rootfs string
	Data   string
	Server Server
}

// Run runs the broker until the context ends, and writes a line "ready" when it
// lets its user in. Nothing of it is left then, nor if this process is killed: its
// process 1 dies with the thread that calls, which must be the main one.
func (p Private) Run(ctx context.Context, ready, log io.Writer) error {
	ports, release, err := reserve(p.Port)
	if err != nil {
		return err
	}
	defer release()
	c := config{Rootfs: p.Rootfs, Server: Server{Listen: []string{p.address()}, EPMDPort: ports[0], DistPort: ports[1]}}
	if p.Dir != "" {
		if c.Data, err = filepath.Abs(filepath.Join(p.Dir, "data")); err != nil {
			return fmt.Errorf("make the broker's directory absolute: %w", err)
		}
		if err := os.MkdirAll(c.Data, 0o755); err != nil {
			return fmt.Errorf("make the broker's data directory: %w", err)
		}
	}
	cmd, err := start(c, log)
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	defer func() {
		kill(cmd)
		for range ended { // until it is closed: it may have been received from before
		}
	}()
	if p.Dir != "" {
		if err := p.record(cmd.Process.Pid); err != nil {
			return err
		}
		defer os.Remove(recordFile(p.Dir))
	}
	if err := p.waitReady(ctx, ended); err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it was ready
		}
		return err
	}
	fmt.Fprintln(ready, "ready")
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return fmt.Errorf("the broker ended: %w", err)
	}
}

func (p Private) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)) }

func start(c config, log io.Writer) (*exec.Cmd, error) {
	arg, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", PrivateCommand, string(arg))
	cmd.Args[0] = "lab"
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
		// The terminal's signals are for the process outside, which ends this one.
		Setpgid: true,
	}
	return cmd, cmd.Start()
}

// kill ends process 1, and with it everything in its PID namespace.
func kill(cmd *exec.Cmd) {
	// An error says that it has ended already.
	_ = cmd.Process.Kill()
}

func (p Private) record(pid int) error {
	id, err := proc.Get(pid)
	if err != nil {
		return fmt.Errorf("look at the broker: %w", err)
	}
	data, err := json.Marshal(record{Process: id})
	if err != nil {
		return err
	}
	if err := os.WriteFile(recordFile(p.Dir), data, 0o644); err != nil {
		return fmt.Errorf("record the broker: %w", err)
	}
	return nil
}

func (p Private) waitReady(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the broker is not ready after %s", startTimeout))
	defer cancel()
	probe := service.AMQP("amqp://" + plan.AMQPUser + ":" + plan.AMQPPassword + "@" + p.address() + "/")
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-ended:
			return fmt.Errorf("the broker ended before it was ready (is port %d taken?): %w", p.Port, err)
		case <-tick.C:
			if probe(ctx) == nil {
				return nil
			}
		}
	}
}

// Control runs rabbitmqctl against the private broker of the directory and
// returns its exit status.
func Control(dir string, args []string) (int, error) {
	data, err := os.ReadFile(recordFile(dir))
	if err != nil {
		return 0, fmt.Errorf("no broker runs with --dir %s: %w", dir, err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return 0, fmt.Errorf("read %s: %w", recordFile(dir), err)
	}
	if !r.Process.Alive() {
		return 0, fmt.Errorf("the broker of %s has ended", dir)
	}
	return enter.Command{
		PID:  r.Process.PID,
		Args: append([]string{"/usr/sbin/rabbitmqctl"}, args...),
		Env:  privateEnv,
		Dir:  "/",
	}.Run()
}

// reserve finds two free ports on the loopback, other than one, until released.
// They lie below those that the kernel hands out itself, so that only another
// broker could want them; each is claimed by a socket of its name meanwhile.
func reserve(except int) (ports []int, release func(), err error) {
	var claims []net.Listener
	release = func() {
		for _, c := range claims {
			c.Close()
		}
	}
	const needed, first, last = 2, 20000, 32000
	for port := first; port < last && len(ports) < needed; port++ {
		if port == except {
			continue
		}
		claim, err := net.Listen("unix", "@ms2m-lab-port-"+strconv.Itoa(port))
		if err != nil {
			continue // another broker's
		}
		probe, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			claim.Close()
			continue
		}
		probe.Close()
		claims = append(claims, claim)
		ports = append(ports, port)
	}
	if len(ports) < needed {
		release()
		return nil, nil, fmt.Errorf("there are no free ports on the loopback between %d and %d", first, last)
	}
	return ports, release, nil
}
