package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"ms2m.dev/ms2m/lab/internal/cgroup"
	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/proc"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// traces is what a lab could leave behind.
type traces struct {
	state layout.State
	trees []cgroup.Tree
	// processes are those of the lab, and others that are in its namespaces, such as
	// what `lab run` runs. Namespaces themselves can't be told from later ones: their
	// numbers are used again.
	processes []proc.ID
}

// newTraces notes what has to be gone afterwards.
func newTraces(s layout.State, l spec.Lab, trees []cgroup.Tree) (traces, error) {
	t := traces{state: s, trees: trees, processes: []proc.ID{l.Supervisor}}
	ours := map[string]bool{}
	for _, tree := range trees {
		for _, pid := range tree.Processes() {
			for _, ns := range namespaces(pid) {
				ours[ns] = true
			}
		}
	}
	for _, ns := range namespaces(os.Getpid()) {
		delete(ours, ns)
	}
	pids, err := proc.All()
	if err != nil {
		return traces{}, err
	}
	for _, pid := range pids {
		if !slices.ContainsFunc(namespaces(pid), func(ns string) bool { return ours[ns] }) {
			continue
		}
		if id, err := proc.Get(pid); err == nil {
			t.processes = append(t.processes, id)
		}
	}
	return t, nil
}

// namespaces are those that the process is in; none if it is gone.
func namespaces(pid int) []string {
	// The pattern is well formed, and that is all that Glob can complain about.
	links, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/ns/*")
	var all []string
	for _, l := range links {
		if ns, err := os.Readlink(l); err == nil {
			all = append(all, ns)
		}
	}
	return all
}

// check says what is left.
func (t traces) check() error {
	var errs []error
	for _, tree := range t.trees {
		for _, dir := range tree.Left() {
			errs = append(errs, fmt.Errorf("cgroup %s is left", dir))
		}
	}
	for _, id := range t.processes {
		if id.Alive() {
			errs = append(errs, fmt.Errorf("process %d is left in the lab's namespaces: end it", id.PID))
		}
	}
	pids, err := proc.All()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		// Every overlay and every bind mount of a machine names the state directory.
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err == nil && bytes.Contains(info, []byte(t.state.Machines()+"/")) {
			errs = append(errs, fmt.Errorf("mounts below %s are left, in process %d", t.state.Machines(), pid))
		}
	}
	return errors.Join(errs...)
}
