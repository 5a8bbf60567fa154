// Package install puts on a node what restores need there: the shim, containerd's
// runtime handler for it, and CRIU's option to close connections. It changes only
// what differs, and restarts containerd only if that has not read its handler yet.
package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
)

// Handler is the runtime handler that the RuntimeClass names.
const Handler = "ms2m"

// Files of the node, as the installer sees them.
const (
	shimName     = "containerd-shim-ms2m-v1"
	configName   = "ms2m.toml"
	minimumMajor = 2
)

// How long containerd has to come back with the handler, and how often it is asked.
const (
	restartTimeout = 90 * time.Second
	pollInterval   = 200 * time.Millisecond
	// retryInterval is between two tries of a whole installation.
	retryInterval = 30 * time.Second
)

// Containerd is the runtime of the node.
type Containerd interface {
	// Status returns what the running containerd is and how it is configured.
	Status(ctx context.Context) (*Status, error)
	// Started is when the running containerd was started, by the node's clock.
	Started() (time.Time, error)
	// Restart makes it read its configuration anew.
	Restart(ctx context.Context) error
}

// Installer installs on one node.
type Installer struct {
	Containerd Containerd
	Log        logr.Logger
	// Shim is the shim in the agent's own image.
	Shim string
	// BinDir, ConfigDir and CRIUDir are the node's directories as the agent sees
	// them. BinDir must have the same path on the node: containerd starts the shim
	// from there.
	BinDir    string
	ConfigDir string
	CRIUDir   string
	// CRIU is put on a node that has none; nil: it is left as it is.
	CRIU *CRIU
	// Record is where it is noted which options were added to CRIU's configuration.
	Record string
	// Own are directories that are MS2M's alone, CRIUHome is CRIUDir, by paths that are
	// no mounts to the agent: they are removed with everything else.
	Own      []string
	CRIUHome string
	// Import finds containerd's own configuration, for it to import ConfigDir; nil: it is left as it is.
	Import func() (Import, error)
	// CRIUVersion asks the node's CRIU; nil: the network lock is left as it is.
	CRIUVersion func(ctx context.Context) (string, error)
}

// Run installs, and tries again until it is done: a node that can't restore may
// still push, so a failure here does not end the agent. Ready says what is wrong.
func (i *Installer) Run(ctx context.Context) error {
	return i.persist(ctx, "installation", i.Install)
}

// Install installs what is missing and returns when the handler is usable.
func (i *Installer) Install(ctx context.Context) error {
	status, err := i.Containerd.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask containerd: %w", err)
	}
	if err := i.copyShim(); err != nil {
		return fmt.Errorf("install the shim: %w", err)
	}
	if i.CRIU != nil {
		if err := i.CRIU.install(); err != nil {
			return fmt.Errorf("install CRIU: %w", err)
		}
	}
	if err := i.configureCRIU(ctx); err != nil {
		return fmt.Errorf("configure CRIU: %w", err)
	}
	want, err := status.handlerFor(i.shimPath())
	if err != nil {
		return err
	}
	if status.has(want) {
		return nil
	}
	if status.Major < minimumMajor {
		return fmt.Errorf("containerd %s replaces its whole CRI configuration by an imported one: configure the handler %s by hand",
			status.Version, Handler)
	}
	written, err := i.writeHandler(want)
	if err != nil {
		return fmt.Errorf("configure containerd: %w", err)
	}
	if i.Import != nil {
		added, err := i.addImport()
		if err != nil {
			return fmt.Errorf("have containerd import %s: %w", i.ConfigDir, err)
		}
		if added {
			written = time.Now()
		}
	}
	return i.restart(ctx, func(s *Status) bool { return s.has(want) }, written)
}

func (i *Installer) addImport() (bool, error) {
	m, err := i.Import()
	if err != nil {
		return false, err
	}
	added, err := m.add()
	if added {
		i.Log.Info("containerd's configuration imports another directory now", "file", m.Config, "imports", m.Pattern)
	}
	return added, err
}

// Ready tells whether the running containerd has the handler and the shim is there.
func (i *Installer) Ready(ctx context.Context) error {
	status, err := i.Containerd.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask containerd: %w", err)
	}
	want, err := status.handlerFor(i.shimPath())
	if err != nil {
		return err
	}
	if !status.has(want) {
		return fmt.Errorf("containerd has no runtime handler %s with this shim", Handler)
	}
	_, err = os.Stat(i.shimPath())
	return err
}

func (i *Installer) shimPath() string   { return filepath.Join(i.BinDir, shimName) }
func (i *Installer) configPath() string { return filepath.Join(i.ConfigDir, configName) }

func (i *Installer) copyShim() error {
	changed, err := update(i.shimPath(), i.Shim, 0o755)
	if changed {
		i.Log.Info("installed", "file", i.shimPath())
	}
	return err
}

// update makes a file the same as source, if it is not yet.
func update(path, source string, mode fs.FileMode) (changed bool, err error) {
	want, err := fileDigest(source)
	if err != nil {
		return false, err
	}
	if have, err := fileDigest(path); err == nil && have == want {
		return false, nil
	}
	src, err := os.Open(source)
	if err != nil {
		return false, err
	}
	defer src.Close()
	if err := replace(path, src, mode); err != nil {
		return false, err
	}
	return true, nil
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return string(sum.Sum(nil)), err
}

// writeHandler writes the handler's configuration and returns when it was last changed.
func (i *Installer) writeHandler(h handler) (time.Time, error) {
	data, err := h.toml()
	if err != nil {
		return time.Time{}, err
	}
	if have, err := os.ReadFile(i.configPath()); err != nil || !bytes.Equal(have, data) {
		i.Log.Info("configuring", "file", i.configPath())
		if err := replace(i.configPath(), bytes.NewReader(data), 0o644); err != nil {
			return time.Time{}, err
		}
	}
	info, err := os.Stat(i.configPath())
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// replace puts a file into place as a whole, so that nobody starts half a shim
// or reads half a configuration.
func replace(path string, content io.Reader, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
