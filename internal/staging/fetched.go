package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

var digestHex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a Area) fetchedDir() string { return filepath.Join(a.root, "fetched") }

// fetched is where a checkpoint lies that was fetched before there was a pod for
// it: one per migration and image. Neither part of the name holds a dot.
func (a Area) fetched(r Record) (string, error) {
	_, digest, _ := strings.Cut(r.Image, "@sha256:")
	if !podUID.MatchString(r.MigrationUID) {
		return "", fmt.Errorf("%q is not a migration's UID", r.MigrationUID)
	}
	if !digestHex.MatchString(digest) {
		return "", fmt.Errorf("image %q does not end in a digest, sha256: and 64 hexadecimal digits", r.Image)
	}
	return filepath.Join(a.fetchedDir(), r.MigrationUID+"-"+digest), nil
}

// BeginFetch makes an empty directory in which a checkpoint can be put together
// whose pod is not there yet: r names none. The shim takes nothing from there.
func (a Area) BeginFetch(r Record) (*Draft, error) {
	dir, err := a.fetched(r)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.fetchedDir(), 0o700); err != nil {
		return nil, err
	}
	draft, err := os.MkdirTemp(a.fetchedDir(), filepath.Base(dir)+partialInfix)
	if err != nil {
		return nil, err
	}
	return &Draft{Dir: draft, staged: dir}, nil
}

// Fetched reads the record of the checkpoint that was fetched for r's migration,
// namespace, container and image; fs.ErrNotExist if there is none.
func (a Area) Fetched(r Record) (Record, error) {
	dir, err := a.fetched(r)
	if err != nil {
		return Record{}, err
	}
	there, err := readRecord(dir)
	if err == nil && (there.MigrationUID != r.MigrationUID || there.Namespace != r.Namespace || there.Container != r.Container || there.Image != r.Image) {
		return Record{}, fmt.Errorf("what is fetched is for another taker: %w", fs.ErrNotExist)
	}
	return there, err
}

// TakeFetched makes d of what was fetched for r, and returns its files. The rename
// comes before any use: nobody else gets it, and if d is not committed it is gone.
func (a Area) TakeFetched(r Record, d *Draft) (map[string]File, error) {
	there, err := a.Fetched(r)
	if err != nil {
		return nil, err
	}
	dir, err := a.fetched(r)
	if err != nil {
		return nil, err
	}
	// Not os.Rename: that does not replace a directory, though this one is empty.
	if err := unix.Rename(dir, d.Dir); err != nil {
		return nil, &os.LinkError{Op: "rename", Old: dir, New: d.Dir, Err: err}
	}
	return there.Files, nil
}

// RemoveFetched removes what was fetched for r and not taken.
func (a Area) RemoveFetched(r Record) error {
	dir, err := a.fetched(r)
	if err != nil {
		return nil // nothing can have been fetched
	}
	return os.RemoveAll(dir)
}

// FetchedNames are all checkpoints in the area that were fetched, complete or not.
func (a Area) FetchedNames() ([]string, error) {
	entries, err := os.ReadDir(a.fetchedDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// SweepFetched removes those of names that were fetched for none of wanted.
func (a Area) SweepFetched(names []string, wanted []Record) error {
	var keep []string
	for _, r := range wanted {
		if dir, err := a.fetched(r); err == nil {
			keep = append(keep, filepath.Base(dir))
		}
	}
	var errs []error
	for _, name := range names {
		if key, _, _ := strings.Cut(name, "."); !slices.Contains(keep, key) {
			errs = append(errs, os.RemoveAll(filepath.Join(a.fetchedDir(), name)))
		}
	}
	return errors.Join(errs...)
}
