package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sweep is how often Destroy looks again at what is left.
const sweep = 20 * time.Millisecond

// Destroy kills every process in the tree and removes the tree. Groups are
// thawed again and again meanwhile, because SIGKILL does not reach a frozen
// process, and one that is being checkpointed may be frozen at any moment.
func (t Tree) Destroy(ctx context.Context) error {
	for {
		t.Thaw()
		pids := t.Processes()
		for _, pid := range pids {
			// An error says that the process is gone already.
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		err := t.remove()
		if err == nil && len(pids) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes do not die (%v); cgroups: %w", len(pids), pids, errors.Join(err, ctx.Err()))
		case <-time.After(sweep):
		}
	}
}

// Thaw wakes every frozen group of the tree.
func (t Tree) Thaw() {
	for _, h := range t {
		if !slices.Contains(h.Controllers, "freezer") {
			continue
		}
		for _, dir := range h.groups() {
			// A group may vanish while we look; the next sweep sees what is left.
			_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0o644)
		}
	}
}

// Processes returns every process that is in any group of the tree.
func (t Tree) Processes() []int {
	seen := map[int]bool{}
	for _, h := range t {
		for _, dir := range h.groups() {
			data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue
			}
			for f := range strings.FieldsSeq(string(data)) {
				// Zero stands for a process outside of our PID namespace: never ours.
				if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
					seen[pid] = true
				}
			}
		}
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// Left returns the directories of the tree that exist.
func (t Tree) Left() []string {
	var left []string
	for _, h := range t {
		left = append(left, h.groups()...)
	}
	return left
}

// remove removes every group that is empty, children first.
func (t Tree) remove() error {
	var errs []error
	for _, h := range t {
		dirs := h.groups()
		slices.Reverse(dirs)
		for _, dir := range dirs {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("remove %s: %w", dir, err))
			}
		}
	}
	return errors.Join(errs...)
}

// groups returns the lab's groups in this hierarchy, parents first.
func (h Hierarchy) groups() []string {
	var dirs []string
	// The walk can only fail where a group vanishes under it.
	_ = filepath.WalkDir(h.Base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}
