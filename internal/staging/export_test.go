package staging

import "github.com/fsnotify/fsnotify"

// Unwatched has Wait do without the kernel's watchers for the time of a test.
func Unwatched(err error) (restore func()) {
	newWatcher = func() (*fsnotify.Watcher, error) { return nil, err }
	return func() { newWatcher = fsnotify.NewWatcher }
}
