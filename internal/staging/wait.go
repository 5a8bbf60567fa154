package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

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
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	// The watches stand before the first look, so that no change falls between.
	for _, dir := range []string{a.podDir(s), bundle} {
		if err := w.Add(dir); err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
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
		case err := <-w.Errors:
			return err
		case <-w.Events:
		}
	}
}
