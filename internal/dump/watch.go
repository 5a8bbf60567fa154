package dump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Step is how far containerd is with a checkpoint.
type Step int

// The steps, in their order.
const (
	Begun   Step = iota // containerd has begun
	Frozen              // the container is frozen, CRIU begins
	Dumped              // CRIU has ended well; the container is frozen still
	Packed              // memory and writable layer are packed; the container was thawed
	Aborted             // containerd has given up
)

// The names that containerd, runc and CRIU use; see the package's documentation.
const (
	workDir   = "ctrd-checkpoint"
	logFile   = "dump.log"
	statsFile = "stats-dump"
	lastFile  = "status"
)

// ErrLost is returned by Next when the kernel had more to say than was listened to.
var ErrLost = errors.New("the kernel dropped events of the checkpoint's directory")

// Watch follows the checkpoints of one container.
type Watch struct {
	dir     string // containerd's directory for the container
	inotify *os.File
	parent  int // watch descriptors
	work    int
	seen    Step
	begun   bool
	queue   []Step
}

// Open watches the directory in which containerd's CRI plugin keeps what it
// knows of a container. What happens after it has returned is not missed.
func Open(dir string) (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	// Non-blocking, so that the runtime polls it and Close ends a Next.
	w := &Watch{dir: dir, inotify: os.NewFile(uintptr(fd), "inotify"), work: -1}
	if w.parent, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		w.inotify.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return w, nil
}

// Close ends the watch, and a Next that waits.
func (w *Watch) Close() error { return w.inotify.Close() }

// Next waits for the next step of a checkpoint. Steps come in their order and
// each once per checkpoint; Aborted may follow any but Packed.
func (w *Watch) Next() (Step, error) {
	// The longest record there can be, a few times over.
	buf := make([]byte, 16*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for len(w.queue) == 0 {
		n, err := w.inotify.Read(buf)
		if err != nil {
			return 0, err
		}
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			ev := (*unix.InotifyEvent)(unsafe.Pointer(&rest[0]))
			end := unix.SizeofInotifyEvent + int(ev.Len)
			name := strings.TrimRight(string(rest[unix.SizeofInotifyEvent:end]), "\x00")
			if ev.Mask&unix.IN_Q_OVERFLOW != 0 {
				return 0, ErrLost
			}
			if err := w.take(int(ev.Wd), ev.Mask, name); err != nil {
				return 0, err
			}
			rest = rest[end:]
		}
	}
	step := w.queue[0]
	w.queue = w.queue[1:]
	return step, nil
}

// take turns an event of the kernel into steps.
func (w *Watch) take(wd int, mask uint32, name string) error {
	switch {
	case wd == w.parent && name == workDir && mask&unix.IN_CREATE != 0:
		return w.begin()
	case wd == w.parent && name == workDir && mask&unix.IN_DELETE != 0:
		if w.begun && w.seen < Packed {
			w.queue = append(w.queue, Aborted)
		}
		w.begun, w.work = false, -1 // the kernel has dropped the watch with the directory
	case wd == w.work:
		w.file(name)
	}
	return nil
}

// begin looks into a working directory that has appeared. The watch stands
// before the first look, so that no file falls between; one that is seen both
// ways counts once.
func (w *Watch) begin() error {
	raw, err := w.inotify.SyscallConn()
	if err != nil {
		return err
	}
	path := w.path("")
	var werr error
	if err := raw.Control(func(fd uintptr) {
		w.work, werr = unix.InotifyAddWatch(int(fd), path, unix.IN_CREATE|unix.IN_ONLYDIR)
	}); err != nil {
		return err
	}
	if errors.Is(werr, unix.ENOENT) {
		return nil // gone again: there is an event for that, too
	}
	if werr != nil {
		return fmt.Errorf("watch %s: %w", path, werr)
	}
	w.begun, w.seen = true, Begun
	w.queue = append(w.queue, Begun)
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		w.file(e.Name())
	}
	return nil
}

// file makes a step of a file, and of those before it that were not seen.
func (w *Watch) file(name string) {
	var step Step
	switch name {
	case logFile:
		step = Frozen
	case statsFile:
		step = Dumped
	case lastFile:
		step = Packed
	default:
		return
	}
	for ; w.seen < step; w.queue = append(w.queue, w.seen) {
		w.seen++
	}
}

func (w *Watch) path(file string) string { return filepath.Join(w.dir, workDir, file) }

// Since is when CRIU had let go of the process, by the clock that stamps files: what
// the process changes after the thaw has this time of change or a later one, and
// what CRIU itself touched at its work an earlier one.
func (w *Watch) Since() (time.Time, error) {
	var st unix.Statx_t
	path := w.path(statsFile)
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st); err != nil {
		return time.Time{}, fmt.Errorf("statx %s: %w", path, err)
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}, fmt.Errorf("the file system of %s does not keep when files were made", path)
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), nil
}

// Statistics reads what CRIU says of the dump. When the container is Dumped CRIU
// is just writing it; when it was let go, or is Packed, that is done.
func (w *Watch) Statistics() ([]byte, error) { return os.ReadFile(w.path(statsFile)) }
