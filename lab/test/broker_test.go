package test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// broker is a private broker that runs.
type broker struct {
	lab
	cmd     *exec.Cmd
	address string
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startBroker(l lab, dir string) broker {
	l.Helper()
	port := freePort(l.T)
	args := []string{"rabbitmq", "--port", strconv.Itoa(port)}
	if dir != "" {
		args = append(args, "--dir", dir)
	}
	cmd := l.command(args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		l.Fatalf("the broker printed %q (%v)", line, err)
	}
	return broker{l, cmd, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
}

// end sends the signal and checks that the broker is gone.
func (b broker) end(signal unix.Signal) {
	b.Helper()
	if err := b.cmd.Process.Signal(signal); err != nil {
		b.Fatal(err)
	}
	err := b.cmd.Wait()
	if signal == unix.SIGTERM && err != nil {
		b.Errorf("told to end, the broker says %v", err)
	}
	b.eventually("the end of the broker", b.gone)
}

func (b broker) gone() error {
	conn, err := net.Dial("tcp4", b.address)
	if err == nil {
		conn.Close()
		return errors.New("it still answers")
	}
	out, err := exec.Command("pgrep", "--full", "--list-full", "rabbit.*"+b.address).CombinedOutput()
	if err == nil {
		return fmt.Errorf("processes are left: %s", out)
	}
	return nil
}

func TestPrivateBrokersSideBySide(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	a, b := startBroker(l, ""), startBroker(l, dir)
	l.must("rabbitmqctl", "--dir", dir, "--", "add_vhost", "kept")
	a.end(unix.SIGTERM)
	// Killed, it takes everything with it all the same, but for its data.
	b.end(unix.SIGKILL)
	c := startBroker(l, dir)
	if out := l.must("rabbitmqctl", "--dir", dir, "--", "list_vhosts"); !strings.Contains(out, "kept") {
		t.Errorf("the data was lost: %q", out)
	}
	c.end(unix.SIGTERM)
}

func TestPrivateBrokerEndsWithItsParent(t *testing.T) {
	l := newLab(t)
	port := strconv.Itoa(freePort(t))
	out := filepath.Join(t.TempDir(), "out")
	// The shell ends when the broker is ready, and leaves it behind.
	const script = `"$1" rabbitmq --port "$2" > "$3" & until grep -q ready "$3"; do sleep 0.1; done`
	if msg, err := exec.Command("timeout", "60", "sh", "-c", script, "sh", labBinary, port, out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	l.eventually("the end of the broker", broker{lab: l, address: "127.0.0.1:" + port}.gone)
}
