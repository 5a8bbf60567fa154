package dump

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Writes says why a container may be expected to change files of its writable layer,
// or to change them unnoticed: empty if nothing speaks for it. proc is the procfs, pid
// the container's first process. A page of a file that is mapped to be shared can
// be written without a trace in the file's times for as long as it stays dirty.
func Writes(proc string, pid int) (string, error) {
	root, err := rootMount(filepath.Join(proc, strconv.Itoa(pid), "mountinfo"))
	if err != nil {
		return "", err
	}
	if root.readOnly {
		return "", nil
	}
	pids, err := family(proc, pid)
	if err != nil {
		return "", err
	}
	for _, p := range pids {
		dir := filepath.Join(proc, p)
		for _, look := range []func(string, mount) (string, error){mapped, open} {
			why, err := look(dir, root)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				continue // it has ended
			}
			if why != "" || err != nil {
				return why, err
			}
		}
	}
	return "", nil
}

// family is every process of pid's PID namespace.
func family(proc string, pid int) ([]string, error) {
	own, err := os.Readlink(filepath.Join(proc, strconv.Itoa(pid), "ns/pid"))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if ns, err := os.Readlink(filepath.Join(proc, e.Name(), "ns/pid")); err == nil && ns == own {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// mapped finds a file that is mapped shared and writable. What is no file of a
// file system is memory, and dumped.
func mapped(dir string, _ mount) (string, error) {
	return firstMapped(dir, func(string) bool { return true })
}

// firstMapped finds a file that a process has mapped shared and writable, among
// those that count.
func firstMapped(dir string, counts func(name string) bool) (string, error) {
	f, err := os.Open(filepath.Join(dir, "maps"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			return "", lines.Err()
		}
		fields := strings.SplitN(lines.Text(), " ", 6)
		if len(fields) < 6 || !strings.HasSuffix(fields[1], "s") || !strings.Contains(fields[1], "w") {
			continue
		}
		name := strings.TrimSpace(fields[5])
		if strings.HasPrefix(name, "/") && !memory(name) && counts(name) {
			return fmt.Sprintf("%s is mapped shared and writable", name), nil
		}
	}
}

func memory(name string) bool {
	for _, p := range []string{"/dev/", "/memfd:", "/SYSV", "/anon_hugepage"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// open finds a file of the root file system that is open for writing.
func open(dir string, root mount) (string, error) {
	return firstOpen(dir, func(mnt, _ string) bool { return mnt == root.id })
}

// firstOpen finds a file that a process has open for writing, among those that
// count, by the mount and the path of the descriptor.
func firstOpen(dir string, counts func(mnt, fd string) bool) (string, error) {
	infos, err := os.ReadDir(filepath.Join(dir, "fdinfo"))
	if err != nil {
		return "", err
	}
	for _, e := range infos {
		info, err := os.ReadFile(filepath.Join(dir, "fdinfo", e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		var flags uint64
		mnt := ""
		for line := range strings.Lines(string(info)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch value = strings.TrimSpace(value); key {
			case "flags":
				flags, _ = strconv.ParseUint(value, 8, 64)
			case "mnt_id":
				mnt = value
			}
		}
		fd := filepath.Join(dir, "fd", e.Name())
		if flags&unix.O_ACCMODE == unix.O_RDONLY || flags&unix.O_PATH != 0 || !counts(mnt, fd) {
			continue
		}
		name, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s is open for writing", name), nil
	}
	return "", nil
}

// mount is a container's root file system.
type mount struct {
	id       string
	readOnly bool
	upper    string // of an overlay
}

// rootMount finds the root in a mountinfo: fields, a hyphen, type, source, options.
func rootMount(path string) (mount, error) {
	f, err := os.Open(path)
	if err != nil {
		return mount{}, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // the options of an overlay name every layer
	for lines.Scan() {
		front, back, ok := strings.Cut(lines.Text(), " - ")
		fields, super := strings.Fields(front), strings.Fields(back)
		if !ok || len(fields) < 6 || len(super) < 3 || fields[4] != "/" {
			continue
		}
		m := mount{id: fields[0]}
		for _, o := range strings.Split(fields[5], ",") {
			m.readOnly = m.readOnly || o == "ro"
		}
		if super[0] != "overlay" {
			return m, fmt.Errorf("the root file system is %s, not overlay", super[0])
		}
		for _, o := range strings.Split(super[2], ",") {
			if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
				m.upper = dir
			}
		}
		if m.upper == "" {
			return m, errors.New("the root file system has no writable layer")
		}
		return m, nil
	}
	return mount{}, errors.Join(fmt.Errorf("%s names no root", path), lines.Err())
}

// Upper is the directory with the writable layer of the container whose first
// process is pid, as the container's runtime names it.
func Upper(proc string, pid int) (string, error) {
	m, err := rootMount(filepath.Join(proc, strconv.Itoa(pid), "mountinfo"))
	return m.upper, err
}

// errChanged ends a walk.
var errChanged = errors.New("changed")

// Changed finds something below dir that was changed at that time or later;
// empty if nothing was. A file that was written, made or moved has a new time of
// change, one that was removed leaves it to its directory: nobody can set it back.
func Changed(dir string, since time.Time) (string, error) {
	found := ""
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				found = path
				return errChanged
			}
			return err
		}
		var st unix.Stat_t
		switch err := unix.Lstat(path, &st); {
		case errors.Is(err, unix.ENOENT):
			found = path
			return errChanged
		case err != nil:
			return &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		if !time.Unix(st.Ctim.Sec, st.Ctim.Nsec).Before(since) {
			found = path
			return errChanged
		}
		return nil
	})
	if errors.Is(err, errChanged) {
		err = nil
	}
	return found, err
}
