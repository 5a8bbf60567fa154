package preflight

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWatchers: where there are no more, it says so, and gives back those that it took.
// This process's own bound, which the kernel answers in the same way, stands for the
// machine's: nobody else has to do without for this test.
func TestWatchers(t *testing.T) {
	if err := watchers(1); err != nil {
		t.Errorf("one: %v", err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = 32
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	})
	err := watchers(33)
	if err == nil || !strings.Contains(err.Error(), "this lab needs 33") || !strings.Contains(err.Error(), "fs.inotify.max_user_instances") {
		t.Errorf("more than there can be: %v", err)
	}
	if err := watchers(1); err != nil {
		t.Errorf("those that were taken were not given back: %v", err)
	}
}
