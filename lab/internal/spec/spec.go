// Package spec is the record of a lab: what is to run, and where it is found
// again. up writes it before it starts anything, so that down finds everything
// however up ended.
package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"ms2m.dev/ms2m/lab/internal/cgroup"
	"ms2m.dev/ms2m/lab/internal/layout"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/proc"
)

// Binaries are the directories of the programs that were built.
type Binaries struct {
	Kubernetes string `json:"kubernetes"`
	Containerd string `json:"containerd"`
	CRIU       string `json:"criu"`
	Pause      string `json:"pause"`
}

// Lab is everything that the processes of a lab have to know about it.
type Lab struct {
	ID       string       `json:"id"`
	State    layout.State `json:"state"`
	Rootfs   string       `json:"rootfs"`
	Binaries Binaries     `json:"binaries"`
	Nodes    []plan.Node  `json:"nodes"`
	Cgroups  cgroup.Tree  `json:"cgroups"`
	// Supervisor is the process that holds everything; unknown until it is started.
	Supervisor proc.ID `json:"supervisor"`
}

// ErrNone says that there is no lab.
var ErrNone = errors.New("no lab is up here: run `lab up` (MS2M_LAB_DIR chooses the lab)")

// ID names the lab of a state directory: labs of other directories have others.
func ID(s layout.State) string {
	sum := sha256.Sum256([]byte(s.Dir))
	return "ms2m-lab-" + hex.EncodeToString(sum[:])[:8]
}

// Machines are the names of all machines, the control plane's first.
func (l Lab) Machines() []string {
	names := []string{plan.ControlPlane}
	for _, n := range l.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// Node returns the worker called name.
func (l Lab) Node(name string) (plan.Node, bool) {
	i := slices.IndexFunc(l.Nodes, func(n plan.Node) bool { return n.Name == name })
	if i < 0 {
		return plan.Node{}, false
	}
	return l.Nodes[i], true
}

// Write records the lab.
func (l Lab) Write() error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the lab's record: %w", err)
	}
	tmp := l.State.Spec() + ".new"
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		return fmt.Errorf("make the lab's directory: %w", err)
	}
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("write the lab's record: %w", err)
	}
	if err := os.Rename(tmp, l.State.Spec()); err != nil {
		return fmt.Errorf("write the lab's record: %w", err)
	}
	return nil
}

// Read reads the record of the lab in this directory; ErrNone if there is none.
func Read(s layout.State) (Lab, error) {
	data, err := os.ReadFile(s.Spec())
	if errors.Is(err, os.ErrNotExist) {
		return Lab{}, ErrNone
	}
	if err != nil {
		return Lab{}, fmt.Errorf("read the lab's record: %w", err)
	}
	var l Lab
	if err := json.Unmarshal(data, &l); err != nil {
		return Lab{}, fmt.Errorf("read the lab's record %s: %w", s.Spec(), err)
	}
	return l, nil
}
