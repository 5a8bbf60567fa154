package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"ms2m.dev/ms2m/test/eval/measure"
	"ms2m.dev/ms2m/test/harness"
)

// control is the lab's machine with the broker.
const control = "ctl"

// machine describes what is measured on.
func (e *evaluation) machine(ctx context.Context) ([]string, error) {
	cpu, err := line("/proc/cpuinfo", "model name")
	if err != nil {
		return nil, err
	}
	memory, err := line("/proc/meminfo", "MemTotal")
	if err != nil {
		return nil, err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	versions, err := e.lab.Exec(ctx, harness.NodeA, "sh", "-c", "kubelet --version; containerd --version | cut -d' ' -f1,3; echo CRIU $(criu --version | cut -d' ' -f2 | head -n1)")
	if err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("%s, %d cores, %s of memory, Linux %s; load average at the beginning %s",
			cpu, runtime.NumCPU(), memory, strings.TrimSpace(string(kernel)), loadAverage()),
		"the lab: all nodes share this machine; " + strings.Join(strings.Split(strings.TrimSpace(versions), "\n"), ", "),
	}, nil
}

// line is the value of a name in a file of /proc, at its first place.
func line(file, name string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for l := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s says no %s", file, name)
}

// loadAverage is the machine's, of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// used is what the programs of MS2M and the broker have used up so far.
func (e *evaluation) used(ctx context.Context) (map[string]measure.Usage, error) {
	var all strings.Builder
	for _, machine := range []string{control, harness.NodeA, harness.NodeB} {
		// A process may end between being listed and being read.
		stats, err := e.lab.Exec(ctx, machine, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true")
		if err != nil {
			return nil, err
		}
		all.WriteString(stats)
	}
	return measure.Processes(all.String())
}

// available is the memory that the machine has left, in bytes.
func available() (int64, error) {
	text, err := line("/proc/meminfo", "MemAvailable")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	return n << 10, err
}

// watchers are the instances of inotify that processes have open: the kernel bounds
// those of a user, and kubelet, containerd and its shims need some for each pod.
func watchers() int {
	n := 0
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, f := range files {
		// A process may end meanwhile.
		if to, err := os.Readlink(f); err == nil && to == "anon_inode:inotify" {
			n++
		}
	}
	return n
}
