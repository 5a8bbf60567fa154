package shim

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// setHostname sets the host name in the UTS namespace of a process. It leaves
// the namespace of the shim alone, which a pod on the host's network shares.
func setHostname(pid int, name string) error {
	path := fmt.Sprintf("/proc/%d/ns/uts", pid)
	theirs, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if ours, err := os.Readlink("/proc/self/ns/uts"); err != nil || ours == theirs {
		return err
	}
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine and no other
		// goroutine ever runs in the pod's namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWUTS); err != nil {
			done <- fmt.Errorf("enter %s: %w", path, err)
			return
		}
		done <- unix.Sethostname([]byte(name))
	}()
	return <-done
}
