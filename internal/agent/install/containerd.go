package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RestartMode is how containerd is made to read its configuration anew.
type RestartMode string

// The modes.
const (
	// RestartAuto asks systemd where that is the node's first process, else signals.
	RestartAuto RestartMode = "auto"
	// RestartSystemd asks the node's systemd.
	RestartSystemd RestartMode = "systemd"
	// RestartSignal ends containerd; whatever watches over it starts it again.
	RestartSignal RestartMode = "signal"
	// RestartNone leaves it to the administrator.
	RestartNone RestartMode = "none"
)

// Set implements flag.Value.
func (m *RestartMode) Set(s string) error {
	switch RestartMode(s) {
	case RestartAuto, RestartSystemd, RestartSignal, RestartNone:
		*m = RestartMode(s)
		return nil
	}
	return errors.New("is one of auto, systemd, signal and none")
}

// String implements flag.Value.
func (m *RestartMode) String() string { return string(*m) }

// hostRoot is the node's root directory, by way of its first process: the agent
// runs in the node's PID namespace.
const hostRoot = "/proc/1/root"

// Runtime is the containerd behind a socket.
type Runtime struct {
	socket string
	mode   RestartMode
	cri    runtimeapi.RuntimeServiceClient
}

// NewRuntime is the containerd behind the Unix socket at that path.
func NewRuntime(socket string, mode RestartMode) (*Runtime, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &Runtime{socket: socket, mode: mode, cri: runtimeapi.NewRuntimeServiceClient(conn)}, nil
}

// Status implements Containerd.
func (r *Runtime) Status(ctx context.Context) (*Status, error) {
	version, err := r.cri.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		return nil, err
	}
	if version.RuntimeName != "containerd" {
		return nil, fmt.Errorf("the runtime is %s, not containerd", version.RuntimeName)
	}
	status, err := r.cri.Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		return nil, err
	}
	return parseStatus(version.RuntimeVersion, status.Info["config"])
}

// Started implements Containerd. It reckons back from now: the boot time that the
// kernel gives is rounded to seconds.
func (r *Runtime) Started() (time.Time, error) {
	pid, err := r.pid()
	if err != nil {
		return time.Time{}, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	age, err := processAge(string(stat), string(uptime))
	return time.Now().Add(-age), err
}

// Path are the directories in which containerd, and what it starts, looks for programs.
func (r *Runtime) Path() ([]string, error) {
	pid, err := r.pid()
	if err != nil {
		return nil, err
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, err
	}
	return searchPath(string(environ)), nil
}

// ConfigPath is where the running containerd has its configuration from.
func (r *Runtime) ConfigPath() (string, error) {
	pid, err := r.pid()
	if err != nil {
		return "", err
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", err
	}
	return configFlag(string(cmdline)), nil
}

// configFlag reads containerd's flag from a command line as /proc has it.
func configFlag(cmdline string) string {
	path := "/etc/containerd/config.toml" // containerd's default
	args := strings.Split(cmdline, "\x00")
	for i, arg := range args {
		flag, value, ok := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if flag != "-config" && flag != "config" && flag != "c" || !strings.HasPrefix(arg, "-") {
			continue
		}
		if !ok && i+1 < len(args) {
			value = args[i+1]
		}
		path = value
	}
	return path
}

// searchPath reads PATH from an environment as /proc has it.
func searchPath(environ string) []string {
	for variable := range strings.SplitSeq(environ, "\x00") {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			return filepath.SplitList(path)
		}
	}
	return nil
}

// processAge computes how long a process has run from its /proc/<pid>/stat and
// /proc/uptime.
func processAge(stat, uptime string) (time.Duration, error) {
	const (
		ticksPerSecond = 100 // USER_HZ, the same on every architecture that Go runs on
		startTime      = 19  // counted after the name, which may hold blanks
	)
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) <= startTime {
		return 0, errors.New("the process's stat is cut off")
	}
	ticks, err := strconv.ParseInt(fields[startTime], 10, 64)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(uptime, " ")
	up, err := time.ParseDuration(first + "s")
	return up - time.Duration(ticks)*time.Second/ticksPerSecond, err
}

// Restart implements Containerd.
func (r *Runtime) Restart(ctx context.Context) error {
	mode := r.mode
	if mode == RestartAuto {
		mode = RestartSignal
		if comm, err := os.ReadFile("/proc/1/comm"); err == nil && strings.TrimSpace(string(comm)) == "systemd" {
			mode = RestartSystemd
		}
	}
	switch mode {
	case RestartSystemd:
		cmd := exec.CommandContext(ctx, "/usr/bin/systemctl", "restart", "containerd")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: hostRoot}
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	case RestartSignal:
		pid, err := r.pid()
		if err != nil {
			return err
		}
		return unix.Kill(pid, unix.SIGTERM)
	}
	return errors.New("containerd must be restarted by hand")
}

// pid is the process that listens on the socket: asked of the kernel, not
// guessed by its name.
func (r *Runtime) pid() (int, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: r.socket, Net: "unix"})
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // nothing is left to be said on it
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var (
		cred *unix.Ucred
		cerr error
	)
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	if cred.Pid <= 1 {
		// 0 is a process of another PID namespace, 1 would be the node itself.
		return 0, fmt.Errorf("containerd's process is not seen from here (%d): does the agent run with hostPID?", cred.Pid)
	}
	return int(cred.Pid), nil
}
