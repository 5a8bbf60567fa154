package measure

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	tick     = 10 * time.Millisecond // of the CPU times in /proc: USER_HZ is 100 on every architecture of Linux
	pageSize = 4096                  // of the lab's machine, x86-64
)

// Usage is what processes have used up: CPU time since they began, and memory now.
type Usage struct {
	CPU    time.Duration
	Memory int64 // resident, in bytes
}

// Processes sums up, by the name of the program, the lines of /proc/*/stat.
func Processes(stats string) (map[string]Usage, error) {
	used := make(map[string]Usage)
	for line := range strings.Lines(stats) {
		_, rest, ok := strings.Cut(line, "(")
		end := strings.LastIndex(rest, ")") // a name may hold parentheses
		if !ok || end < 0 {
			return nil, fmt.Errorf("no line of /proc/*/stat: %q", line)
		}
		// From the third field on: the state.
		fields := strings.Fields(rest[end+1:])
		if len(fields) < 22 {
			return nil, fmt.Errorf("no line of /proc/*/stat: %q", line)
		}
		var numbers [3]int64
		for i, field := range []int{11, 12, 21} { // utime, stime, rss
			n, err := strconv.ParseInt(fields[field], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("a line of /proc/*/stat: %w", err)
			}
			numbers[i] = n
		}
		u := used[rest[:end]]
		u.CPU += time.Duration(numbers[0]+numbers[1]) * tick
		u.Memory += numbers[2] * pageSize
		used[rest[:end]] = u
	}
	return used, nil
}
