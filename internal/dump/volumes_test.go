package dump_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/internal/dump"
)

const mounts = `20 1 0:30 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
21 20 0:31 / /proc rw - proc proc rw
22 20 0:32 / /dev rw - tmpfs tmpfs rw
23 22 8:1 /var/lib/kubelet/pods/u/containers/c/1 /dev/termination-log rw - ext4 /dev/x rw
24 20 0:33 / /cache rw - tmpfs tmpfs rw
25 20 8:2 / /data rw,relatime shared:7 - ext4 /dev/y rw
26 25 0:34 / /data/tmp rw - tmpfs tmpfs rw
27 20 0:35 / /my\040files rw - nfs4 server:/x rw
`

// process puts a process into a procfs.
type process struct {
	t   *testing.T
	dir string
}

func newProcess(t *testing.T, proc string, pid int, namespace string) process {
	t.Helper()
	p := process{t: t, dir: filepath.Join(proc, strconv.Itoa(pid))}
	for _, d := range []string{"ns", "fd", "fdinfo"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.must(os.Symlink("pid:["+namespace+"]", filepath.Join(p.dir, "ns/pid")))
	p.write("mountinfo", mounts)
	p.write("maps", "")
	return p
}

func (p process) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p process) write(name, content string) {
	p.t.Helper()
	p.must(os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600))
}

// opens gives it a descriptor of path.
func (p process) opens(path string, mount, flags int) {
	p.t.Helper()
	p.must(os.Symlink(path, filepath.Join(p.dir, "fd/5")))
	p.write("fdinfo/5", fmt.Sprintf("pos:\t0\nflags:\t0%o\nmnt_id:\t%d\nino:\t1\n", flags, mount))
}

func (p process) maps(mode, path string) {
	p.t.Helper()
	p.write("maps", "7f0000000000-7f0000001000 "+mode+" 00000000 08:02 5                          "+path+"\n")
}

func TestOpenOnVolumes(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		does func(process)
		want string
	}{
		"nothing":                         {func(process) {}, ""},
		"writes on a volume":              {func(p process) { p.opens(file, 25, unix.O_WRONLY) }, "file is open for writing"},
		"appends on a network's":          {func(p process) { p.opens(file, 27, unix.O_RDWR|unix.O_APPEND) }, "file is open for writing"},
		"reads on a volume":               {func(p process) { p.opens(file, 25, unix.O_RDONLY) }, ""},
		"only names a file":               {func(p process) { p.opens(file, 25, unix.O_PATH|unix.O_RDWR) }, ""},
		"writes to a pipe on a volume":    {func(p process) { p.opens(fifo, 25, unix.O_RDWR) }, ""},
		"writes to a file that is gone":   {func(p process) { p.opens(file+" (deleted)", 25, unix.O_RDWR) }, ""},
		"writes on its root":              {func(p process) { p.opens(file, 20, unix.O_RDWR) }, ""},
		"writes in memory":                {func(p process) { p.opens(file, 24, unix.O_RDWR) }, ""},
		"writes in memory on a volume":    {func(p process) { p.opens(file, 26, unix.O_RDWR) }, ""},
		"writes its termination message":  {func(p process) { p.opens(file, 23, unix.O_RDWR) }, ""},
		"writes to a socket":              {func(p process) { p.opens("socket:[7]", 9, unix.O_RDWR) }, ""},
		"maps on a volume":                {func(p process) { p.maps("rw-s", "/data/db") }, "/data/db is mapped shared and writable"},
		"maps where the name has a blank": {func(p process) { p.maps("rw-s", "/my files/db") }, "/my files/db is mapped"},
		"maps its own copy":               {func(p process) { p.maps("rw-p", "/data/db") }, ""},
		"maps what was removed":           {func(p process) { p.maps("rw-s", "/data/db (deleted)") }, ""},
		"maps memory on a volume":         {func(p process) { p.maps("rw-s", "/data/tmp/x") }, ""},
		"maps on its root":                {func(p process) { p.maps("rw-s", "/database") }, ""},
	} {
		for _, who := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d %s", who, name), func(t *testing.T) {
				proc := t.TempDir()
				container := map[int]process{1: newProcess(t, proc, 1, "c"), 2: newProcess(t, proc, 2, "c")}
				newProcess(t, proc, 3, "other").opens(file, 25, unix.O_RDWR)
				tc.does(container[who])
				if why, err := dump.OpenOnVolumes(proc, 1); err != nil || (why == "") != (tc.want == "") || !strings.Contains(why, tc.want) {
					t.Errorf("%q, %v; want %q", why, err, tc.want)
				}
			})
		}
	}
	if _, err := dump.OpenOnVolumes(t.TempDir(), 1); err == nil {
		t.Error("a container that is not there has no open files")
	}
}
