package staging

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sweep removes everything that is kept for pods which alive does not know.
func (a Area) Sweep(alive func(podUID string) bool) error {
	return a.eachPod(func(dir string) error {
		if alive(filepath.Base(dir)) {
			return nil
		}
		return os.RemoveAll(dir)
	})
}

// RemoveDrafts removes every draft. No draft outlives the agent that writes it,
// so an agent calls this when it starts, before its first transfer. What was
// fetched goes, too: the node may have crashed, and torn it, before its pod came; the
// Stage then pulls it again.
func (a Area) RemoveDrafts() error {
	return errors.Join(os.RemoveAll(a.fetchedDir()), a.eachPod(func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		var errs []error
		for _, e := range entries {
			if strings.Contains(e.Name(), partialInfix) {
				errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
			}
		}
		return errors.Join(errs...)
	}))
}

func (a Area) eachPod(do func(dir string) error) error {
	var errs []error
	for _, parent := range []string{a.restore(), a.logs()} {
		pods, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, pod := range pods {
			errs = append(errs, do(filepath.Join(parent, pod.Name())))
		}
	}
	return errors.Join(errs...)
}
