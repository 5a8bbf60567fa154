// Package enter runs things in the namespaces of another process.
package enter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Net makes this process's calling thread part of the network of the process pid.
func Net(pid int) error {
	ns, err := os.Open(netns(pid))
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

func netns(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }

// ExecNet replaces this process by the command, in the network of the process
// pid and otherwise where it is. It returns only if it fails.
func ExecNet(pid int, command, env []string) error {
	path, err := lookPath(command[0], env)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := Net(pid); err != nil {
		return err
	}
	// What is executed goes on in the namespaces of the thread that calls.
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, command, env))
}

// lookPath finds the command in the PATH of the environment it is to run with.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("there is no program %s in the PATH", name)
}

// Dialer returns a function that dials in the network of the process pid.
func Dialer(pid int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		type result struct {
			conn net.Conn
			err  error
		}
		done := make(chan result, 1)
		go func() {
			// The thread ends with the goroutine, so that no other one ends up in a
			// foreign network.
			runtime.LockOSThread()
			if err := Net(pid); err != nil {
				done <- result{nil, err}
				return
			}
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, address)
			done <- result{conn, err}
		}()
		r := <-done
		return r.conn, r.err
	}
}

// Command is a program to be run in all namespaces and the root of a process.
type Command struct {
	PID        int
	Args       []string
	Env        []string
	Dir        string
	Credential *syscall.Credential
	// Join, if set, is called first, to put this process into the right cgroups.
	Join func() error
}

// everything are the namespaces that Run enters.
const everything = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP

// Run runs the command with this process's standard files, hands it the signals
// that this process gets, and returns its exit status. The process must not do
// anything else: a part of it stays in the namespaces.
func (c Command) Run() (int, error) {
	fd, err := unix.PidfdOpen(c.PID, 0)
	if err != nil {
		return 0, fmt.Errorf("find the machine's process: %w", err)
	}
	defer unix.Close(fd)
	if c.Join != nil {
		if err := c.Join(); err != nil {
			return 0, err
		}
	}
	// Never unlocked: the thread stays in the machine.
	runtime.LockOSThread()
	// A thread can only change its mount namespace if its root is its own.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return 0, fmt.Errorf("separate the thread's root: %w", err)
	}
	if err := unix.Setns(fd, everything); err != nil {
		return 0, fmt.Errorf("enter the machine: %w", err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	path, err := lookPath(c.Args[0], c.Env)
	if err != nil {
		return 0, err
	}
	cmd := &exec.Cmd{
		Path: path, Args: c.Args, Env: c.Env, Dir: c.Dir,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Credential: c.Credential},
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the command: %w", err)
	}
	go func() {
		for s := range signals {
			// An error says that the command has ended.
			_ = cmd.Process.Signal(s)
		}
	}()
	return exitStatus(cmd.Wait())
}

// exitStatus is what a shell would make of the end of a command.
func exitStatus(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
