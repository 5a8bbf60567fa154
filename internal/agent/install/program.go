package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
)

const criuProgram = "criu"

// linkDirs are where a program that no package has brought may be put, if
// containerd looks there.
var linkDirs = []string{"/usr/local/sbin", "/usr/local/bin"}

// CRIU is a CRIU for nodes that have none of their own.
type CRIU struct {
	// Source is where the agent's image has it: VERSION/criu, and what that needs beside it.
	Source string
	// Home is where it is put. It must have the same path on the node: the program
	// names its loader there.
	Home string
	// Root is the node's root directory as the agent sees it.
	Root string
	Log  logr.Logger
	// Path are the directories in which containerd, and so runc, looks for programs.
	Path func() ([]string, error)
}

// install puts CRIU on a node that has none, and takes ours away from one that
// has got its own.
func (c CRIU) install() error {
	path, err := c.Path()
	if err != nil {
		return fmt.Errorf("ask for containerd's PATH: %w", err)
	}
	own, ours, err := c.find(path)
	if err != nil {
		return err
	}
	if own != "" {
		return c.remove(ours)
	}
	version, err := c.version()
	if err != nil {
		return fmt.Errorf("the node has no CRIU in %s: %w", strings.Join(path, ":"), err)
	}
	i := slices.IndexFunc(linkDirs, func(dir string) bool { return slices.Contains(path, dir) })
	if i < 0 {
		return fmt.Errorf("the node has no CRIU, and containerd looks for one in %s only: put it into one of these by hand", strings.Join(path, ":"))
	}
	if err := c.copy(version); err != nil {
		return err
	}
	if err := c.link(filepath.Join(linkDirs[i], criuProgram), version); err != nil {
		return fmt.Errorf("link CRIU on the node: %w; if that can't be written, put CRIU into one of %s by hand", err, strings.Join(path, ":"))
	}
	return c.removeVersions(version)
}

// Remove takes away what was installed, and nothing of the node's own.
func (c CRIU) Remove() error {
	_, ours, err := c.find(linkDirs)
	if err != nil {
		return err
	}
	return c.remove(ours)
}

// find looks for CRIU: the first of the node's own, and all that are links of ours.
// Links are read, not followed: they are the node's, and would lead astray here.
func (c CRIU) find(path []string) (own string, ours []string, err error) {
	for _, dir := range path {
		name := filepath.Join(dir, criuProgram)
		switch target, err := os.Readlink(filepath.Join(c.Root, name)); {
		case err == nil && strings.HasPrefix(target, c.Home+"/"):
			ours = append(ours, name)
		case errors.Is(err, fs.ErrNotExist):
		case err != nil && !errors.Is(err, syscall.EINVAL): // that is: no link
			return "", nil, err
		case own == "":
			own = name
		}
	}
	return own, ours, nil
}

// version is the one that the image has.
func (c CRIU) version() (string, error) {
	found, err := filepath.Glob(filepath.Join(c.Source, "*", criuProgram))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the agent's image has %d of them, it should have one: install the package criu on the node, or take an image with it (build/Dockerfile)", len(found))
	}
	return filepath.Base(filepath.Dir(found[0])), nil
}

// copy lays out a version. What runs of it meanwhile keeps its files.
func (c CRIU) copy(version string) error {
	source := filepath.Join(c.Source, version)
	return filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		_, err = update(filepath.Join(c.Home, version, rel), path, info.Mode().Perm())
		return err
	})
}

// link has the name on the node lead to a version.
func (c CRIU) link(name, version string) error {
	target := filepath.Join(c.Home, version, criuProgram)
	link := filepath.Join(c.Root, name)
	if have, err := os.Readlink(link); err == nil && have == target {
		return nil
	}
	c.Log.Info("the node has no CRIU: installing", "program", target, "link", name)
	// Made beside and renamed: at no moment is there none.
	tmp := filepath.Join(filepath.Dir(link), ".criu.ms2m")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, link)
}

func (c CRIU) remove(links []string) error {
	for _, name := range links {
		if err := os.Remove(filepath.Join(c.Root, name)); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.Home)
}

// removeVersions removes all but one.
func (c CRIU) removeVersions(keep string) error {
	entries, err := os.ReadDir(c.Home)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == keep {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.Home, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
