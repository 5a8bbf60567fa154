package agent

import (
	"context"
	"fmt"

	"github.com/fsnotify/fsnotify"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// sweepAlways sweeps now and whenever a pod leaves the node, until ctx ends. A
// leg that is finalized sweeps, too, but the kubelet may remove the directory
// of its pod only afterwards, and no other leg may follow.
func (r *Reconciler) sweepAlways(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch for pods that leave: %w", err)
	}
	defer watcher.Close()
	if err := watcher.Add(r.Pods); err != nil {
		return fmt.Errorf("watch for pods that leave: %w", err)
	}
	for {
		// After the watch has begun, so that no pod leaves unseen in between.
		if err := r.Sweep(ctx); err != nil {
			log.FromContext(ctx).Error(err, "remove what is kept for pods that are gone")
		}
		if !removal(ctx, watcher) {
			return nil
		}
	}
}

// removal waits until something was removed from the watched directory. It is
// false if nothing more is to be waited for.
func removal(ctx context.Context, w *fsnotify.Watcher) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case err := <-w.Errors: // some events were lost
			return err != nil
		case ev := <-w.Events:
			if ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename) {
				return true
			}
		}
	}
}
