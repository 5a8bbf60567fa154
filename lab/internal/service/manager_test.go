package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var errNotYet = errors.New("not yet")

// serve runs a manager of the services; there can be one at a time, because it
// reaps all children.
func serve(t *testing.T, services ...Service) (Client, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	logs := t.TempDir()
	socket := filepath.Join(t.TempDir(), "s")
	m := NewManager(logs, services)
	go m.Run(ctx)
	go func() {
		if err := m.Serve(ctx, socket); err != nil {
			t.Error(err)
		}
	}()
	return NewClient(socket), logs
}

// await waits until the service's status is as wanted.
func await(t *testing.T, c Client, what string, good func(Status) bool) Status {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all, err := c.Status(t.Context())
		if err == nil && good(all[0]) {
			return all[0]
		}
	}
	t.Fatalf("not %s in time", what)
	return Status{}
}

func TestServiceIsStartedAgain(t *testing.T) {
	pass := func(context.Context) error { return nil }
	c, logs := serve(t, Service{Name: "x", Command: []string{"sh", "-c", "echo began; exec sleep 600"}, Ready: pass})
	first := await(t, c, "ready", func(s Status) bool { return s.NotReady == "" })
	if err := c.Signal(t.Context(), "x", "SIGKILL"); err != nil {
		t.Fatal(err)
	}
	var log []byte
	second := await(t, c, "started again, with what it says", func(s Status) bool {
		var err error
		log, err = os.ReadFile(filepath.Join(logs, "x.log"))
		return s.PID != 0 && s.PID != first.PID && err == nil && strings.Count(string(log), "began\n") > 1
	})
	if second.Restarts != 1 || second.LastExit != "killed" {
		t.Errorf("status %+v", second)
	}
	if strings.Count(string(log), "began\n") != 2 {
		t.Errorf("log %q", log)
	}
	if err := c.Signal(t.Context(), "x", "SIGNONE"); err == nil {
		t.Error("a signal that isn't one was sent")
	}
	if err := c.Signal(t.Context(), "y", "SIGTERM"); err == nil {
		t.Error("a service that isn't one was ended")
	}
	if err := c.Signal(t.Context(), "x", "SIGKILL"); err != nil {
		t.Error(err)
	}
}

func TestServiceStartsAfterWhatItNeeds(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	gate := func(context.Context) error {
		if _, err := os.Stat(open); err != nil {
			return errNotYet
		}
		return nil
	}
	c, _ := serve(t, Service{Name: "x", Command: []string{"sleep", "600"}, After: gate, Ready: gate})
	await(t, c, "waiting", func(s Status) bool { return s.PID == 0 && s.NotReady == "not running" })
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, c, "ready", func(s Status) bool { return s.NotReady == "" })
	if err := c.Signal(t.Context(), "x", "SIGKILL"); err != nil {
		t.Error(err)
	}
}

func TestServiceIsKeptStopped(t *testing.T) {
	pass := func(context.Context) error { return nil }
	c, _ := serve(t, Service{Name: "x", Command: []string{"sleep", "600"}, Ready: pass})
	first := await(t, c, "ready", func(s Status) bool { return s.NotReady == "" })
	for range 2 { // what is stopped already stays so
		if err := c.Stop(t.Context(), "x", "SIGKILL"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * restartDelay) // in which it would have been started again
	if all, err := c.Status(t.Context()); err != nil || all[0].PID != 0 || all[0].NotReady != "not running" {
		t.Errorf("status %+v, %v", all, err)
	}
	if err := c.Stop(t.Context(), "y", "SIGKILL"); err == nil {
		t.Error("a service that isn't one was stopped")
	}
	if err := c.Stop(t.Context(), "x", "SIGNONE"); err == nil {
		t.Error("stopped by a signal that isn't one")
	}
	if err := c.Start(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	second := await(t, c, "started again", func(s Status) bool { return s.PID != 0 })
	if second.PID == first.PID || second.Restarts != 1 {
		t.Errorf("status %+v, was %+v", second, first)
	}
	if err := c.Signal(t.Context(), "x", "SIGKILL"); err != nil {
		t.Error(err)
	}
}
