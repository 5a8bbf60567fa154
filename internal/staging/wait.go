package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// What ends a wait without a checkpoint.
var (
	// ErrWithdrawn is returned by Wait when the agent will not stage anything.
	ErrWithdrawn = errors.New("the checkpoint was withdrawn, its migration has ended")
	// ErrAbandoned is returned by Wait when the bundle went away: whoever asked
	// for the start has given it up.
	ErrAbandoned = errors.New("the container was removed while its checkpoint was awaited")
)

// Wait returns when a checkpoint is staged for s, or with the context's error.
// It gives up when what is to be staged is withdrawn, and when bundle, the
// directory of the container to be started, goes.
func (a Area) Wait(ctx context.Context, s Slot, bundle string) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(a.podDir(s), 0o700); err != nil {
		return err
	}
	// The watches stand before the first look, so that no change falls between.
	w, err := watch(newWatcher, a.podDir(s), bundle)
	if err != nil {
		return err
	}
	defer w.close()
	for {
		_, err := os.Lstat(a.staged(s))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := os.Lstat(a.withdrawn(s)); err == nil {
			return ErrWithdrawn
		}
		if _, err := os.Lstat(bundle); err != nil {
			return ErrAbandoned
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.errors:
			return err
		case <-w.events:
		case <-w.looks:
		}
	}
}

// lookEvery is how often a directory is looked at that can't be watched.
const lookEvery = 250 * time.Millisecond

// newWatcher is replaced by tests.
var newWatcher = fsnotify.NewWatcher

// watcher tells when directories may have changed.
type watcher struct {
	events <-chan fsnotify.Event
	errors <-chan error
	looks  <-chan time.Time
	close  func()
}

// watch watches directories. What the kernel grants of watchers is shared with everything
// else on the node that root runs (fs.inotify.max_user_instances); a migration
// does not fail because others have taken it all: then it is looked from time to time.
func watch(newWatcher func() (*fsnotify.Watcher, error), dirs ...string) (*watcher, error) {
	w, err := newWatcher()
	if errors.Is(err, syscall.EMFILE) {
		ticker := time.NewTicker(lookEvery)
		return &watcher{looks: ticker.C, close: ticker.Stop}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil {
			return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), w.Close())
		}
	}
	return &watcher{events: w.Events, errors: w.Errors, close: func() { _ = w.Close() }}, nil
}
