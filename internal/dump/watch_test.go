package dump_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ms2m.dev/ms2m/internal/dump"
)

// checkpoint plays containerd, runc and CRIU in a container's directory.
type checkpoint struct {
	t   *testing.T
	dir string
}

func (c checkpoint) begin() {
	c.t.Helper()
	if err := os.Mkdir(filepath.Join(c.dir, "ctrd-checkpoint"), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

func (c checkpoint) write(name string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "ctrd-checkpoint", name), []byte(name), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c checkpoint) end() {
	c.t.Helper()
	if err := os.RemoveAll(filepath.Join(c.dir, "ctrd-checkpoint")); err != nil {
		c.t.Fatal(err)
	}
}

func open(t *testing.T) (checkpoint, *dump.Watch) {
	t.Helper()
	c := checkpoint{t: t, dir: t.TempDir()}
	w, err := dump.Open(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // a second time, if the test has closed it
	return c, w
}

func expect(t *testing.T, w *dump.Watch, want ...dump.Step) {
	t.Helper()
	for _, step := range want {
		got, err := w.Next()
		if err != nil || got != step {
			t.Fatalf("step %d, %v; want %d", got, err, step)
		}
	}
}

// silent fails if there is a step without anything having happened.
func silent(t *testing.T, w *dump.Watch) {
	t.Helper()
	got := make(chan dump.Step, 1)
	go func() {
		if s, err := w.Next(); err == nil {
			got <- s
		}
	}()
	select {
	case s := <-got:
		t.Fatalf("step %d came too early", s)
	case <-time.After(50 * time.Millisecond):
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestSteps follows two checkpoints of one container, step by step.
func TestSteps(t *testing.T) {
	c, w := open(t)
	for range 2 {
		c.begin()
		expect(t, w, dump.Begun)
		c.write("dump.log")
		expect(t, w, dump.Frozen)
		c.write("stats-dump")
		expect(t, w, dump.Dumped)
		c.write("status")
		expect(t, w, dump.Packed)
		c.write("config.dump")
		c.end()
	}
}

// TestStepsAtOnce: what happened before anybody looked is told, in its order and once.
func TestStepsAtOnce(t *testing.T) {
	c, w := open(t)
	c.begin()
	for _, f := range []string{"dump.log", "stats-dump", "status"} {
		c.write(f)
	}
	expect(t, w, dump.Begun, dump.Frozen, dump.Dumped, dump.Packed)
	silent(t, w)
}

// TestAborted: a dump that fails leaves no statistics, and containerd tidies up.
func TestAborted(t *testing.T) {
	c, w := open(t)
	c.begin()
	c.write("dump.log")
	expect(t, w, dump.Begun, dump.Frozen)
	c.end()
	expect(t, w, dump.Aborted)
	c.begin()
	expect(t, w, dump.Begun)
	c.end()
	c.begin() // before anybody has looked
	c.write("dump.log")
	expect(t, w, dump.Aborted, dump.Begun, dump.Frozen)
}

// TestOtherFiles: containerd keeps more in that directory.
func TestOtherFiles(t *testing.T) {
	c, w := open(t)
	for _, name := range []string{"status", "dump.log", "stats-dump"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	silent(t, w)
}

func TestClose(t *testing.T) {
	_, w := open(t)
	ended := make(chan error)
	go func() {
		_, err := w.Next()
		ended <- err
	}()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Next ended with %v", err)
	}
	if _, err := dump.Open(filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a container that is not there: %v", err)
	}
}

// TestChanged: what is written, made, renamed or removed after CRIU has ended
// shows, and what was there before does not.
func TestChanged(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"nothing": nil,
		"written": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a/b"), []byte("new"), 0o600) },
		"grown": func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, "a/b"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		},
		"made":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "a/c"), nil, 0o600) },
		"renamed": func(dir string) error { return os.Rename(filepath.Join(dir, "a/b"), filepath.Join(dir, "a/c")) },
		"removed": func(dir string) error { return os.Remove(filepath.Join(dir, "a/b")) },
		"mode":    func(dir string) error { return os.Chmod(filepath.Join(dir, "a/b"), 0o640) },
		"times set back": func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "a/b"), []byte("new"), 0o600); err != nil {
				return err
			}
			return os.Chtimes(filepath.Join(dir, "a/b"), time.Unix(1, 0), time.Unix(1, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			upper := t.TempDir()
			if err := os.Mkdir(filepath.Join(upper, "a"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(upper, "a/b"), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			<-time.After(20 * time.Millisecond) // more than a tick of the clock of files
			c, w := open(t)
			c.begin()
			c.write("dump.log")
			c.write("stats-dump")
			expect(t, w, dump.Begun, dump.Frozen, dump.Dumped)
			since, err := w.Since()
			if err != nil {
				t.Fatal(err)
			}
			if change != nil {
				if err := change(upper); err != nil {
					t.Fatal(err)
				}
			}
			got, err := dump.Changed(upper, since)
			if err != nil {
				t.Fatal(err)
			}
			if (got != "") != (change != nil) {
				t.Errorf("changed: %q", got)
			}
		})
	}
}
