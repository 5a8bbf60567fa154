package sdk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// ErrNoPod is the error of a process that cannot tell which pod it is in.
var ErrNoPod = errors.New("not in a pod: no mount of the kubelet names one")

// kubeletMount matches the kubelet's own files below its pod directory, as the
// root of a mount: …/pods/<uid>/etc-hosts and …/pods/<uid>/containers/<name>/<id>
// (the termination log).
var kubeletMount = regexp.MustCompile(`/pods/([0-9a-fA-F-]{36})/(?:etc-hosts|containers/[^/]+/[^/]+)$`)

// podUIDFromMounts tells the UID of the pod from the bind mounts that the
// kubelet itself makes. A restored process sees those of its new pod there,
// while its environment and host name may still be the old pod's.
func podUIDFromMounts() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("look which pod this is: %w", err)
	}
	defer f.Close()
	return podUID(f)
}

// podUID reads a mountinfo, see proc_pid_mountinfo(5): the fourth field is the
// root of the mount within its file system, the fifth the mount point.
func podUID(mountinfo io.Reader) (string, error) {
	s := bufio.NewScanner(mountinfo)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			continue
		}
		if point := fields[4]; point != "/etc/hosts" && point != "/dev/termination-log" {
			continue
		}
		if m := kubeletMount.FindStringSubmatch(fields[3]); m != nil {
			return m[1], nil
		}
	}
	if err := s.Err(); err != nil {
		return "", fmt.Errorf("look which pod this is: %w", err)
	}
	return "", ErrNoPod
}
