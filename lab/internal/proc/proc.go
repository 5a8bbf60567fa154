// Package proc finds processes by what /proc says of them.
package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ID names a process for good: a PID alone may be another process's by now.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in ticks since the machine started
}

// Get returns the identity of the process that has this PID now.
func Get(pid int) (ID, error) {
	st, err := readStatus(pid)
	return ID{PID: pid, Start: st.start}, err
}

// Alive says whether the process exists and has not ended.
func (id ID) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	st, err := readStatus(id.PID)
	return err == nil && st.start == id.Start && st.state != "Z" && st.state != "X"
}

// Children returns the PIDs and command lines of the process's children.
func Children(parent int) (map[int][]string, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	children := map[int][]string{}
	for _, pid := range all {
		st, err := readStatus(pid)
		if err != nil || st.parent != parent {
			continue // gone meanwhile, or someone else's
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		children[pid] = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	}
	return children, nil
}

// All returns the PIDs of all processes.
func All() ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(dirs))
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// status is what the lab reads of /proc/PID/stat.
type status struct {
	state  string // a letter; Z for a process that has ended and was not waited for
	parent int
	start  uint64
}

func readStatus(pid int) (status, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}, err
	}
	return parseStatus(string(data))
}

// parseStatus skips the second field, the name in brackets, which may hold anything.
func parseStatus(line string) (status, error) {
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(f) < 20 {
		return status{}, fmt.Errorf("unexpected process status %q", line)
	}
	parent, err := strconv.Atoi(f[1])
	if err != nil {
		return status{}, fmt.Errorf("unexpected process status: %w", err)
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return status{}, fmt.Errorf("unexpected process status: %w", err)
	}
	return status{state: f[0], parent: parent, start: start}, nil
}
