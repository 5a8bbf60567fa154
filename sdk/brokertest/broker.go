// Package brokertest gives tests a real RabbitMQ of their own: it starts one
// with the lab's command (`lab rabbitmq`) on a free loopback port.
package brokertest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// Broker is a running RabbitMQ.
type Broker struct {
	URL string // AMQP URL with credentials

	lab, dir string
	cmd      *exec.Cmd
	port     int
}

// EnvLab names the lab's command, to save building it.
const EnvLab = "MS2M_LAB_BIN"

// Start starts a broker in a directory of its own. It needs root, like the lab.
func Start(dir string) (*Broker, error) {
	lab, err := labCommand(dir)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		URL: fmt.Sprintf("amqp://ms2m:ms2m-lab@127.0.0.1:%d/", port),
		lab: lab, dir: filepath.Join(dir, "rabbitmq"), port: port,
	}
	return b, b.run()
}

// run starts the server and waits for its word that it takes connections.
func (b *Broker) run() error {
	b.cmd = exec.Command(b.lab, "rabbitmq", "--port", fmt.Sprint(b.port), "--dir", b.dir)
	log, err := os.Create(b.dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	b.cmd.Stderr = log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	// The parent-death signal is tied to the thread that starts the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("start rabbitmq: %w", err)
	}
	s := bufio.NewScanner(out)
	for s.Scan() {
		if strings.TrimSpace(s.Text()) == "ready" {
			return nil
		}
	}
	said, _ := os.ReadFile(log.Name())
	return errors.Join(errors.New("rabbitmq ended before it was ready"), b.cmd.Wait(), errors.New(string(said)))
}

// Ctl runs rabbitmqctl against the broker.
func (b *Broker) Ctl(args ...string) ([]byte, error) {
	args = append([]string{"rabbitmqctl", "--dir", b.dir, "--"}, args...)
	out, err := exec.Command(b.lab, args...).CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args[4:], " "), err, out)
	}
	return out, nil
}

// Stop ends the broker and waits until it is gone.
func (b *Broker) Stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return b.cmd.Wait()
}

// labCommand is the lab's command from the environment, or built from the
// module beside this one.
var labCommand = func() func(string) (string, error) {
	var once sync.Once
	var path string
	var err error
	return func(dir string) (string, error) {
		once.Do(func() {
			if path = os.Getenv(EnvLab); path != "" {
				return
			}
			_, file, _, _ := runtime.Caller(0)
			path = filepath.Join(dir, "lab")
			cmd := exec.Command("go", "build", "-o", path, "./cmd/lab")
			cmd.Dir = filepath.Join(filepath.Dir(file), "..", "..", "lab")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, e := cmd.CombinedOutput(); e != nil {
				err = fmt.Errorf("build the lab's command (or set %s): %w: %s", EnvLab, e, out)
			}
		})
		return path, err
	}
}()

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
