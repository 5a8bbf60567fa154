package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"ms2m.dev/ms2m/lab/internal/cgroup"
	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// Bounds of the tear-down, which takes a second or two.
const (
	downTimeout  = 30 * time.Second
	checkTimeout = 5 * time.Second // for what was killed to be gone
)

// Down takes the lab down, whatever state it is in, and makes sure that nothing
// but its logs is left.
func Down(ctx context.Context, state layout.State, out io.Writer) error {
	unlock, err := layout.TryLock(state.Lock())
	if err != nil {
		return fmt.Errorf("another `lab up` or `lab down` works on this lab: %w", err)
	}
	defer unlock()
	return destroy(ctx, state, out)
}

func destroy(ctx context.Context, state layout.State, out io.Writer) error {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, downTimeout, fmt.Errorf("not down after %s", downTimeout))
	defer cancel()
	l, err := spec.Read(state)
	if err != nil && !errors.Is(err, spec.ErrNone) {
		// Damaged; what is left is found by its name alone.
		fmt.Fprintln(out, "warning:", err)
	}
	trees := []cgroup.Tree{l.Cgroups}
	// The record may be lost, or written by a process of other cgroups.
	if found, err := cgroup.Discover(spec.ID(state)); err == nil {
		trees = append(trees, found)
	}
	left, err := newTraces(state, l, trees)
	if err != nil {
		return err
	}
	for _, t := range trees {
		if err := t.Destroy(ctx); err != nil {
			return err
		}
	}
	// Processes and their namespaces go a moment after they are killed.
	ctx, cancel = context.WithTimeoutCause(ctx, checkTimeout, errors.New("not all gone"))
	defer cancel()
	err = poll(ctx, "the end of the lab", func(context.Context) error { return left.check() })
	if err != nil {
		return err
	}
	for _, path := range []string{state.Machines(), state.PKI(), state.Kubeconfig(), state.Spec()} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("clear the lab's directory: %w", err)
		}
	}
	fmt.Fprintf(out, "down after %.1fs: no process, mount, namespace or cgroup left\n", time.Since(start).Seconds())
	return nil
}
