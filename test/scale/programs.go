package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ms2m.dev/ms2m/test/eval/measure"
)

// programs are those besides the manager whose CPU time is told, by the name of the process.
var programs = []string{"kube-apiserver", "etcd", "beam.smp"}

// used is the CPU time of the programs that this process has started.
func used() (map[string]time.Duration, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	stats := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil { // else it has ended meanwhile
			stats[pid] = string(text)
		}
	}
	lines, err := descendants(stats, os.Getpid())
	if err != nil {
		return nil, err
	}
	all, err := measure.Processes(strings.Join(lines, ""))
	out := map[string]time.Duration{}
	for _, name := range programs {
		out[name] = all[name].CPU
	}
	return out, err
}

// descendants are the lines of /proc/*/stat of those whom a process has started, and they.
func descendants(stats map[int]string, ancestor int) ([]string, error) {
	parents := map[int]int{}
	for pid, line := range stats {
		end := strings.LastIndex(line, ")") // a name may hold parentheses and spaces
		fields := strings.Fields(line[end+1:])
		if end < 0 || len(fields) < 2 {
			return nil, fmt.Errorf("no line of /proc/*/stat: %q", line)
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("a line of /proc/*/stat: %q", line), err)
		}
		parents[pid] = parent
	}
	var out []string
	for pid, line := range stats {
		for at := parents[pid]; at > 0; at = parents[at] {
			if at == ancestor {
				out = append(out, line)
				break
			}
		}
	}
	return out, nil
}
