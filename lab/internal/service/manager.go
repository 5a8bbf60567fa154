// Package service runs the programs of a machine as its process 1: starts them in
// order, starts them again when they exit, reaps what they leave behind, and
// answers questions about them on a socket.
package service

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// restartDelay is short, because a runtime's restart is part of an installation.
	restartDelay = 100 * time.Millisecond
	// maxDelay bounds the delay of a program that keeps failing at once.
	maxDelay = 5 * time.Second
	// settled is how long a program must have lived for its failures to be forgotten.
	settled = 5 * time.Second
	// pollInterval is the time between two probes of something to be waited for.
	pollInterval = 100 * time.Millisecond
	// probeTimeout bounds one probe.
	probeTimeout = 3 * time.Second
)

// Probe asks a program once whether it is ready.
type Probe func(context.Context) error

// Service is a program to be kept running.
type Service struct {
	Name       string
	Command    []string
	Env        []string // on top of the machine's environment
	Dir        string
	Credential *syscall.Credential
	// After, if set, must pass before the program is started.
	After Probe
	// Ready says whether it serves.
	Ready Probe
}

// Manager runs services. There can be only one in a process, which must be the
// first of its PID namespace: it reaps every orphan.
type Manager struct {
	logs     string
	services []*running

	mu      sync.Mutex // held while a process is started: see reap
	waiters map[int]chan syscall.WaitStatus
}

// running is a service and what is known of it.
type running struct {
	Service
	mu       sync.Mutex
	pid      int
	started  time.Time
	restarts int
	lastExit string
	resume   chan struct{} // while it is kept stopped; closed when it may run again
}

// errStopped is why a service that is kept stopped is not started.
var errStopped = errors.New("it is kept stopped")

// NewManager returns a manager whose services log to the directory.
func NewManager(logs string, services []Service) *Manager {
	m := &Manager{logs: logs, waiters: map[int]chan syscall.WaitStatus{}}
	for _, s := range services {
		m.services = append(m.services, &running{Service: s})
	}
	return m
}

// Run starts the services and keeps them running for ever.
func (m *Manager) Run(ctx context.Context) {
	// Notified before the first start, so that no exit is missed.
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for _, s := range m.services {
		go m.keep(ctx, s)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-children:
			m.reap()
		}
	}
}

// keep runs one service again and again.
func (m *Manager) keep(ctx context.Context, s *running) {
	delay := restartDelay
	for ctx.Err() == nil {
		if s.After != nil {
			wait(ctx, s.After)
		}
		began := time.Now()
		exit, err := m.start(s)
		if errors.Is(err, errStopped) {
			s.await(ctx)
			delay = restartDelay
			continue
		}
		if err != nil {
			log.Printf("start %s: %v", s.Name, err)
		} else {
			status := <-exit
			s.exited(describe(status))
			log.Printf("%s exited after %s: %s", s.Name, time.Since(began).Round(time.Millisecond), describe(status))
		}
		if time.Since(began) > settled {
			delay = restartDelay
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, maxDelay)
	}
}

// start starts the program and returns where its exit status will appear.
func (m *Manager) start(s *running) (<-chan syscall.WaitStatus, error) {
	out, err := os.OpenFile(filepath.Join(m.logs, s.Name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open its log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = s.Dir
	cmd.Stdout, cmd.Stderr = out, out
	// A session of its own, so that a signal to its group reaches it only.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.Credential}

	m.mu.Lock()
	defer m.mu.Unlock()
	// Until the process is noted: whoever stops the service finds it, or it is not made.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume != nil {
		return nil, errStopped
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exit := make(chan syscall.WaitStatus, 1)
	m.waiters[cmd.Process.Pid] = exit
	s.began(cmd.Process.Pid)
	// The reaper waits for it, along with all others.
	return exit, cmd.Process.Release()
}

// reap collects every child that has ended, a service or an orphan.
func (m *Manager) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		// A service that ends at once may be reaped before start has noted it: wait
		// for start to be through.
		m.mu.Lock()
		exit := m.waiters[pid]
		delete(m.waiters, pid)
		m.mu.Unlock()
		if exit != nil {
			exit <- status
		}
	}
}

// wait polls the probe until it passes.
func wait(ctx context.Context, p Probe) {
	for ctx.Err() == nil && probe(ctx, p) != nil {
		select {
		case <-ctx.Done():
		case <-time.After(pollInterval):
		}
	}
}

func probe(ctx context.Context, p Probe) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return p(ctx)
}

func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", s.ExitStatus())
}

// began takes note of a process; s.mu is held.
func (s *running) began(pid int) {
	if !s.started.IsZero() {
		s.restarts++
	}
	s.pid, s.started = pid, time.Now()
}

func (s *running) exited(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid, s.lastExit = 0, how
}
