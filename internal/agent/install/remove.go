package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// noHandler is a configuration of containerd that changes nothing.
const noHandler = "version = 3\n"

// errHandlerElsewhere: what we have not brought we do not take away.
var errHandlerElsewhere = fmt.Errorf("containerd has a runtime handler %s that is not from %s: take it out by hand", Handler, configName)

// RunRemoval takes away what Run has installed, and tries again until it is done.
func (i *Installer) RunRemoval(ctx context.Context) error {
	return i.persist(ctx, "removal", i.Remove)
}

// Remove takes away what Install has put on the node, and restarts containerd for it if
// that has the handler. It can be broken off anywhere and begun again.
func (i *Installer) Remove(ctx context.Context) error {
	if err := i.removeHandler(ctx); err != nil {
		return err
	}
	if i.Import != nil {
		m, err := i.Import()
		if err == nil {
			err = m.Remove()
		}
		if err != nil {
			return fmt.Errorf("containerd's imports: %w", err)
		}
	}
	if i.CRIU != nil {
		if err := i.CRIU.Remove(); err != nil {
			return fmt.Errorf("remove CRIU: %w", err)
		}
	}
	if err := i.removeOptions(); err != nil {
		return fmt.Errorf("CRIU's configuration: %w", err)
	}
	for _, dir := range i.Own {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	// Not ours alone: it goes only if nothing is in it.
	if err := os.Remove(i.CRIUHome); err != nil && !errors.Is(err, fs.ErrNotExist) && !notEmpty(i.CRIUHome) {
		return err
	}
	i.Log.Info("nothing of it is left on this node")
	return nil
}

// Removed tells whether nothing of Install is left: it is ready, so to speak.
func (i *Installer) Removed(ctx context.Context) error {
	status, err := i.Containerd.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask containerd: %w", err)
	}
	if _, ok := status.handlers[Handler]; ok {
		return fmt.Errorf("containerd still has the runtime handler %s", Handler)
	}
	for _, path := range append([]string{i.configPath()}, i.Own...) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is still there: %w", path, err)
		}
	}
	return nil
}

// removeHandler takes the handler out of containerd. Its file is emptied first and goes
// last: its time tells whether the running containerd has read it, also to an agent that
// was killed in between.
func (i *Installer) removeHandler(ctx context.Context) error {
	status, err := i.Containerd.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask containerd: %w", err)
	}
	_, has := status.handlers[Handler]
	have, err := os.ReadFile(i.configPath())
	switch {
	case errors.Is(err, fs.ErrNotExist) && has:
		return errHandlerElsewhere
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if string(have) != noHandler {
		if err := replace(i.configPath(), strings.NewReader(noHandler), 0o644); err != nil {
			return err
		}
	}
	if has {
		info, err := os.Stat(i.configPath())
		if err != nil {
			return err
		}
		gone := func(s *Status) bool { _, ok := s.handlers[Handler]; return !ok }
		if err := i.restart(ctx, gone, info.ModTime()); err != nil {
			return err
		}
	}
	return os.Remove(i.configPath())
}

// added is which options were put into which file of CRIU's.
type added map[string][]string

// readAdded reads the record; without one nothing was added.
func (i *Installer) readAdded() (added, error) {
	all := added{}
	data, err := os.ReadFile(i.Record)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return all, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", i.Record, err)
	}
	return all, nil
}

// record notes which options are about to be put into a file: before it is done, so that
// none is forgotten.
func (i *Installer) record(name string, options []string) error {
	all, err := i.readAdded()
	if err != nil {
		return err
	}
	for _, o := range options {
		if !slices.Contains(all[name], o) {
			all[name] = append(all[name], o)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return replace(i.Record, bytes.NewReader(data), 0o600)
}

// removeOptions takes out what was added, and files of which nothing is left then.
func (i *Installer) removeOptions() error {
	all, err := i.readAdded()
	if err != nil {
		return err
	}
	for name, options := range all {
		path := filepath.Join(i.CRIUDir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		var rest []byte
		for line := range bytes.Lines(data) {
			if !slices.Contains(options, strings.TrimSpace(string(line))) {
				rest = append(rest, line...)
			}
		}
		if len(rest) > 0 {
			err = replace(path, bytes.NewReader(rest), 0o644)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func notEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// persist does something until it is done.
func (i *Installer) persist(ctx context.Context, what string, do func(context.Context) error) error {
	err := wait.PollUntilContextCancel(ctx, retryInterval, true, func(ctx context.Context) (bool, error) {
		err := do(ctx)
		if err != nil && ctx.Err() == nil {
			i.Log.Error(err, what+" failed", "again in", retryInterval.String())
		}
		return err == nil, nil
	})
	if ctx.Err() != nil {
		return nil // the agent ends
	}
	return err
}

// restart restarts containerd until its configuration is as it is wanted, unless the
// running one was started after that was written: then a restart would not help either, and
// an agent that starts again and again must not take containerd along.
func (i *Installer) restart(ctx context.Context, done func(*Status) bool, written time.Time) error {
	started, err := i.Containerd.Started()
	if err != nil {
		return fmt.Errorf("find containerd: %w", err)
	}
	if started.After(written) {
		return fmt.Errorf("containerd was started after %s was written and does not go by it: does its configuration import that directory (--import-config adds it)?",
			i.configPath())
	}
	i.Log.Info("restarting containerd, for it to read its configuration anew", "handler", Handler)
	if err := i.Containerd.Restart(ctx); err != nil {
		return fmt.Errorf("restart containerd: %w", err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, pollInterval, restartTimeout, true, func(ctx context.Context) (bool, error) {
		status, err := i.Containerd.Status(ctx)
		if last = err; err != nil {
			return false, nil // it is on its way down or up
		}
		return done(status), nil
	})
	if err != nil {
		return fmt.Errorf("containerd did not come back as %s has it: %w", i.configPath(), errors.Join(err, last))
	}
	return nil
}
