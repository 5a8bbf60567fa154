package service

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var errStillRuns = errors.New("it still runs")

// find is the service of that name.
func (m *Manager) find(name string) (*running, error) {
	for _, s := range m.services {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("there is no service %s", name)
}

// stop ends the service by a signal to its process group, waits until its process
// is gone, and does not start it again.
func (m *Manager) stop(ctx context.Context, name, signal string) error {
	s, err := m.find(name)
	if err != nil {
		return err
	}
	sig := unix.SignalNum(signal)
	if sig == 0 {
		return fmt.Errorf("there is no signal %s", signal)
	}
	if err := s.hold(sig); err != nil {
		return fmt.Errorf("send %s to %s: %w", signal, name, err)
	}
	wait(ctx, func(context.Context) error { return s.gone() })
	if err := s.gone(); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}

// cont lets a stopped service run again.
func (m *Manager) cont(name string) error {
	s, err := m.find(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume != nil {
		close(s.resume)
		s.resume = nil
	}
	return nil
}

// hold keeps the service from being started, and signals the process that it has.
func (s *running) hold(sig unix.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume == nil {
		s.resume = make(chan struct{})
	}
	if s.pid == 0 {
		return nil
	}
	return unix.Kill(-s.pid, sig)
}

func (s *running) gone() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid != 0 {
		return errStillRuns
	}
	return nil
}

// await returns when the service is not kept stopped any more.
func (s *running) await(ctx context.Context) {
	s.mu.Lock()
	resume := s.resume
	s.mu.Unlock()
	if resume == nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-resume:
	}
}
