// Package cgroup gives a lab its own subtree in every cgroup v1 hierarchy: one
// group per machine, found again by path when everything else is lost.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// required are the controllers a kubelet and runc cannot do without.
var required = []string{"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"}

// ErrNoV1 says that the machine's cgroups are of the kind the lab can't use.
var ErrNoV1 = errors.New("the lab needs cgroup v1 hierarchies; this machine has none with all the controllers (a pure cgroup v2 machine is not supported: boot with systemd.unified_cgroup_hierarchy=0)")

// Hierarchy is one cgroup v1 hierarchy and the lab's place in it.
type Hierarchy struct {
	// Controllers are the controllers of the hierarchy, or "name=systemd".
	Controllers []string `json:"controllers"`
	// Base is the lab's own directory in it.
	Base string `json:"base"`
}

// Tree is the lab's subtree over all hierarchies.
type Tree []Hierarchy

// Discover plans the subtree called name for the calling process: below the
// group it is in, or below the root where that one is not to be seen.
func Discover(name string) (Tree, error) {
	self, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("read this process's cgroups: %w", err)
	}
	defer self.Close()
	paths, err := parseSelf(self)
	if err != nil {
		return nil, err
	}
	info, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read this process's mounts: %w", err)
	}
	defer info.Close()
	mounts, err := parseMounts(info)
	if err != nil {
		return nil, err
	}
	return plan(name, paths, mounts, func(dir string) bool {
		st, err := os.Stat(dir)
		return err == nil && st.IsDir()
	})
}

func plan(name string, paths map[string]string, mounts []mount, exists func(string) bool) (Tree, error) {
	var tree Tree
	have := map[string]bool{}
	for _, m := range mounts {
		controllers := m.controllers(paths)
		if len(controllers) == 0 || have[controllers[0]] {
			continue
		}
		parent := m.point
		if rel, err := filepath.Rel(m.root, paths[controllers[0]]); err == nil && !strings.HasPrefix(rel, "..") {
			if p := filepath.Join(m.point, rel); exists(p) {
				parent = p
			}
		}
		for _, c := range controllers {
			have[c] = true
		}
		tree = append(tree, Hierarchy{Controllers: controllers, Base: filepath.Join(parent, name)})
	}
	for _, c := range required {
		if !have[c] {
			return nil, fmt.Errorf("cgroup controller %s: %w", c, ErrNoV1)
		}
	}
	return tree, nil
}

// parseSelf reads /proc/self/cgroup: the path of each v1 controller.
func parseSelf(r io.Reader) (map[string]string, error) {
	paths := map[string]string{}
	s := bufio.NewScanner(r)
	for s.Scan() {
		id, rest, ok := strings.Cut(s.Text(), ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 {
			return nil, fmt.Errorf("unexpected line in /proc/self/cgroup: %q", s.Text())
		}
		if id == "0" { // version 2
			continue
		}
		for c := range strings.SplitSeq(controllers, ",") {
			paths[c] = path
		}
	}
	return paths, s.Err()
}

// mount is a mounted cgroup v1 hierarchy.
type mount struct {
	root, point string
	options     []string
}

// controllers returns those of the mount's options that name a controller.
func (m mount) controllers(known map[string]string) []string {
	var c []string
	for _, o := range m.options {
		if _, ok := known[o]; ok {
			c = append(c, o)
		}
	}
	return c
}

// parseMounts finds the cgroup v1 mounts in a mountinfo file.
func parseMounts(r io.Reader) ([]mount, error) {
	var mounts []mount
	s := bufio.NewScanner(r)
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), " - ")
		front, back := strings.Fields(before), strings.Fields(after)
		if !ok || len(front) < 5 || len(back) < 3 || back[0] != "cgroup" {
			continue
		}
		mounts = append(mounts, mount{root: front[3], point: front[4], options: strings.Split(back[2], ",")})
	}
	return mounts, s.Err()
}

// MountName is the customary name of the hierarchy below /sys/fs/cgroup.
func (h Hierarchy) MountName() string {
	return strings.TrimPrefix(strings.Join(h.Controllers, ","), "name=")
}

// MountOptions are what mounts this hierarchy.
func (h Hierarchy) MountOptions() string {
	if h.named() {
		return "none," + h.Controllers[0]
	}
	return strings.Join(h.Controllers, ",")
}

func (h Hierarchy) named() bool { return strings.HasPrefix(h.Controllers[0], "name=") }

// Create makes the group called machine in every hierarchy.
func (t Tree) Create(machine string) error {
	for _, h := range t {
		for _, dir := range []string{h.Base, filepath.Join(h.Base, machine)} {
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("make the cgroup: %w", err)
			}
			if slices.Contains(h.Controllers, "cpuset") {
				if err := inheritCPUSet(dir); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inheritCPUSet fills a new cpuset: an empty one takes no process.
func inheritCPUSet(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		v, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return fmt.Errorf("read the parent's cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), v, 0o644); err != nil {
			return fmt.Errorf("fill the cpuset: %w", err)
		}
	}
	return nil
}

// Join puts the calling process into the machine's groups.
func (t Tree) Join(machine string) error {
	for _, h := range t {
		procs := filepath.Join(h.Base, machine, "cgroup.procs")
		if err := os.WriteFile(procs, []byte("0"), 0o644); err != nil {
			return fmt.Errorf("join the cgroup: %w", err)
		}
	}
	return nil
}
