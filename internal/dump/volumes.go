package dump

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenOnVolumes names a regular file of a volume that a process of the container
// has open for writing, or mapped shared and writable; empty if there is none. CRIU
// restores no file that has another size than at the dump, and the image has only
// the name of this one. proc is the procfs, pid the container's first process.
func OpenOnVolumes(proc string, pid int) (string, error) {
	first := strconv.Itoa(pid)
	pids, err := family(proc, pid)
	if err != nil {
		return "", err
	}
	for _, p := range pids {
		why, err := openOnVolumes(filepath.Join(proc, p))
		if p != first && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)) {
			continue // it has ended
		}
		if why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

func openOnVolumes(dir string) (string, error) {
	mounts, err := mountsOf(dir)
	if err != nil {
		return "", err
	}
	byID := map[string]bool{}
	for _, m := range mounts {
		byID[m.id] = m.volume()
	}
	why, err := firstOpen(dir, func(mnt, fd string) bool { return byID[mnt] && sized(fd) })
	if why != "" || err != nil {
		return why, err
	}
	return firstMapped(dir, func(name string) bool {
		return !strings.HasSuffix(name, " (deleted)") && mountOf(mounts, name).volume()
	})
}

// sized tells whether a descriptor is of a file that CRIU looks for by its name, and
// whose size it compares: of one that was removed it keeps the contents.
func sized(fd string) bool {
	var st unix.Stat_t
	return unix.Stat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink > 0
}

// mountPoint is where a process sees a file system.
type mountPoint struct{ id, path, kind string }

// kernelMade are the file systems that hold no files of volumes.
var kernelMade = map[string]bool{
	"": true, "proc": true, "sysfs": true, "cgroup": true, "cgroup2": true, "devtmpfs": true, "devpts": true, "mqueue": true,
	"tmpfs": true, "ramfs": true, "hugetlbfs": true, "debugfs": true, "tracefs": true, "securityfs": true, "bpf": true,
	"configfs": true, "fusectl": true, "pstore": true, "nsfs": true,
}

// volume tells a volume from the root and from what the runtime mounts itself. The
// kubelet's files in /dev (the termination message) are the pod's own.
func (m mountPoint) volume() bool {
	if m.path == "/" || kernelMade[m.kind] {
		return false
	}
	for _, top := range []string{"/proc", "/sys", "/dev"} {
		if under(m.path, top) {
			return false
		}
	}
	return true
}

func under(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// mountOf is the mount that a path leads to: the innermost, of those the last.
func mountOf(mounts []mountPoint, path string) mountPoint {
	var found mountPoint
	for _, m := range mounts {
		if under(path, m.path) && len(m.path) >= len(found.path) {
			found = m
		}
	}
	return found
}

// octal undoes how the kernel writes paths in mountinfo.
var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#")

func mountsOf(dir string) ([]mountPoint, error) {
	f, err := os.Open(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []mountPoint
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // the options of an overlay name every layer
	for lines.Scan() {
		front, back, _ := strings.Cut(lines.Text(), " - ")
		fields, super := strings.Fields(front), strings.Fields(back)
		if len(fields) < 6 || len(super) < 1 {
			continue
		}
		out = append(out, mountPoint{id: fields[0], path: octal.Replace(fields[4]), kind: super[0]})
	}
	return out, lines.Err()
}
