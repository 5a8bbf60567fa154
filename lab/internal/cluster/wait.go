package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ms2m.dev/ms2m/lab/internal/image"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/spec"
)

const (
	readyTimeout = 3 * time.Minute
	readyPoll    = 150 * time.Millisecond
	tryTimeout   = 15 * time.Second
)

// steps prints a line for everything that has come about, with the time it took.
type steps struct {
	start time.Time
	mu    sync.Mutex
	out   io.Writer
}

func newSteps(out io.Writer) *steps { return &steps{start: time.Now(), out: out} }

func (s *steps) done(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1fs  %s\n", time.Since(s.start).Seconds(), what)
}

// waitReady waits until the lab can be used, or can't any more.
func waitReady(ctx context.Context, l spec.Lab, supervisor *exec.Cmd, s *steps) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %s", readyTimeout))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	go func() {
		err := supervisor.Wait()
		fail(fmt.Errorf("the supervisor ended (%w):\n%s", err, lastLines(supervisorLog(l.State))))
	}()
	r, err := machines(ctx, l)
	if err == nil {
		err = r.waitReady(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("%w\n(see `lab status` and `lab logs`; `lab down` clears away what there is)", err)
	}
	s.done("ready")
	return nil
}

// machines waits until all machines run.
func machines(ctx context.Context, l spec.Lab) (Running, error) {
	var r Running
	err := poll(ctx, "the machines", func(context.Context) (err error) {
		if r, err = find(l); err != nil {
			return err
		}
		for _, name := range l.Machines() {
			if _, err := r.PID(name); err != nil {
				return err
			}
		}
		return nil
	})
	return r, err
}

func (r Running) waitReady(ctx context.Context, s *steps) error {
	a, err := r.api()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	step := func(what string, try func(context.Context) error) {
		g.Go(func() error {
			if err := poll(ctx, what, try); err != nil {
				return err
			}
			s.done(what)
			return nil
		})
	}
	for _, name := range r.Machines() {
		g.Go(func() error { return r.waitServices(ctx, name, s) })
	}
	for _, n := range r.Nodes {
		step(n.Name+" is Ready", func(ctx context.Context) error { return a.nodeReady(ctx, n.Name) })
	}
	step("default ServiceAccount", a.defaultServiceAccount)
	step("pause image pushed", r.pushPause)
	return g.Wait()
}

// waitServices waits for all services of a machine and tells of each when it is ready.
func (r Running) waitServices(ctx context.Context, machine string, s *steps) error {
	client, err := r.Client(machine)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	return poll(ctx, "the services of "+machine, func(ctx context.Context) error {
		services, err := client.Status(ctx)
		if err != nil {
			return err
		}
		var waiting []error
		for _, service := range services {
			switch {
			case service.NotReady != "":
				waiting = append(waiting, fmt.Errorf("%s: %s", service.Name, service.NotReady))
			case !told[service.Name]:
				told[service.Name] = true
				s.done(service.Name + "@" + machine)
			}
		}
		return errors.Join(waiting...)
	})
}

func (r Running) pushPause(ctx context.Context) error {
	transport, err := r.Transport()
	if err != nil {
		return err
	}
	img, err := image.Build(image.Spec{Files: []image.File{{Source: r.Binaries.Pause, Target: "/pause"}}, Entrypoint: []string{"/pause"}})
	if err != nil {
		return err
	}
	_, err = image.Push(ctx, plan.PauseImage, img, transport)
	return err
}

// poll tries again and again until it works or the context ends.
func poll(ctx context.Context, what string, try func(context.Context) error) error {
	for {
		err := once(ctx, try)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, context.Cause(ctx), err)
		case <-time.After(readyPoll):
		}
	}
}

// once bounds a single try, so that one that hangs does not use up all the time.
func once(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return try(ctx)
}

// lastLines returns the end of a log.
func lastLines(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
