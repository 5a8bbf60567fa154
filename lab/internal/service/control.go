package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is where a machine's manager listens, in the machine's root.
const Socket = "/run/ms2m-lab.sock"

// Status is what the manager knows of a service.
type Status struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid,omitempty"` // in the machine; zero if it does not run
	Started  time.Time `json:"started,omitzero"`
	Restarts int       `json:"restarts"`
	LastExit string    `json:"lastExit,omitempty"`
	// NotReady says why the service isn't ready; empty if it is.
	NotReady string `json:"notReady,omitempty"`
}

// Serve answers on the socket until the context ends.
func (m *Manager) Serve(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clear the control socket: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// The client sees a broken answer as such.
		_ = json.NewEncoder(w).Encode(m.status(r.Context()))
	})
	mux.HandleFunc("POST /services/{name}/signal/{signal}", func(w http.ResponseWriter, r *http.Request) {
		if err := m.signal(r.PathValue("name"), r.PathValue("signal")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	mux.HandleFunc("POST /services/{name}/stop/{signal}", func(w http.ResponseWriter, r *http.Request) {
		if err := m.stop(r.Context(), r.PathValue("name"), r.PathValue("signal")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	mux.HandleFunc("POST /services/{name}/start", func(w http.ResponseWriter, r *http.Request) {
		if err := m.cont(r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	server := &http.Server{Handler: mux}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// status probes all services side by side.
func (m *Manager) status(ctx context.Context) []Status {
	all := make([]Status, len(m.services))
	var wg sync.WaitGroup
	for i, s := range m.services {
		wg.Go(func() { all[i] = s.status(ctx) })
	}
	wg.Wait()
	return all
}

func (s *running) status(ctx context.Context) Status {
	s.mu.Lock()
	st := Status{Name: s.Name, PID: s.pid, Started: s.started, Restarts: s.restarts, LastExit: s.lastExit}
	s.mu.Unlock()
	if st.PID == 0 {
		st.NotReady = "not running"
	} else if err := probe(ctx, s.Ready); err != nil {
		st.NotReady = err.Error()
	}
	return st
}

// signal sends the signal to the service's process group. The runtime's shims and
// their containers are in groups of their own and do not notice.
func (m *Manager) signal(name, signal string) error {
	sig := unix.SignalNum(signal)
	if sig == 0 {
		return fmt.Errorf("there is no signal %s", signal)
	}
	s, err := m.find(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 {
		return fmt.Errorf("%s does not run at the moment", name)
	}
	if err := unix.Kill(-s.pid, sig); err != nil {
		return fmt.Errorf("send %s to %s: %w", signal, name, err)
	}
	return nil
}

// Client asks a machine's manager.
type Client struct{ http *http.Client }

// NewClient returns a client of the manager behind the socket.
func NewClient(socket string) Client {
	var d net.Dialer
	return Client{&http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status returns the state of all services of the machine.
func (c Client) Status(ctx context.Context) ([]Status, error) {
	body, err := c.do(ctx, http.MethodGet, "/status")
	if err != nil {
		return nil, err
	}
	var all []Status
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("read the answer of the machine: %w", err)
	}
	return all, nil
}

// Signal sends the signal (SIGTERM, …) to the service.
func (c Client) Signal(ctx context.Context, service, signal string) error {
	_, err := c.do(ctx, http.MethodPost, "/services/"+service+"/signal/"+signal)
	return err
}

// Stop ends the service with the signal, and keeps it from being started again.
func (c Client) Stop(ctx context.Context, service, signal string) error {
	_, err := c.do(ctx, http.MethodPost, "/services/"+service+"/stop/"+signal)
	return err
}

// Start lets a stopped service run again.
func (c Client) Start(ctx context.Context, service string) error {
	_, err := c.do(ctx, http.MethodPost, "/services/"+service+"/start")
	return err
}

func (c Client) do(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://machine"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the machine: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the machine: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	return body, nil
}
