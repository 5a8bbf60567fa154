package staging_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ms2m.dev/ms2m/internal/staging"
)

var slot = staging.Slot{PodUID: "5f0c-1", Container: "cart"}

func record() staging.Record {
	return staging.Record{
		MigrationUID: "m-1", Namespace: "shop", PodName: "cart-0", PodUID: slot.PodUID, Container: slot.Container,
		Image: "registry.example.com/ckpt@sha256:abc",
	}
}

func want() staging.Want {
	return staging.Want{MigrationUID: "m-1", Namespace: "shop", PodName: "cart-0", Slot: slot}
}

// stage commits a checkpoint of two files.
func stage(t *testing.T, a staging.Area) {
	t.Helper()
	if err := draft(t, a).Commit(withFiles()); err != nil {
		t.Fatal(err)
	}
}

var contents = map[string]string{"checkpoint/pages-1.img": "memory", staging.RootfsDiff: "layer"}

func withFiles() staging.Record {
	r := record()
	r.Files = map[string]staging.File{}
	for name, body := range contents {
		sum := sha256.Sum256([]byte(body))
		r.Files[name] = staging.File{Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
	}
	return r
}

func draft(t *testing.T, a staging.Area) *staging.Draft {
	t.Helper()
	d, err := a.Begin(slot)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d.Dir, staging.ImagesDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, body := range contents {
		write(t, filepath.Join(d.Dir, name), body)
	}
	return d
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOnce(t *testing.T) {
	a := staging.At(t.TempDir())
	if _, err := a.Staged(slot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Staged before: %v", err)
	}
	stage(t, a)
	if got, err := a.Staged(slot); err != nil || !got.Same(record()) {
		t.Errorf("Staged = %+v, %v", got, err)
	}
	dir, err := a.Take(slot, "c1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := staging.Verify(t.Context(), dir, want()); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if _, err := a.Take(slot, "c2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was taken twice: %v", err)
	}
	used, err := a.Used(slot)
	if err != nil || len(used) != 1 || !used[0].Same(record()) {
		t.Errorf("Used = %+v, %v", used, err)
	}
	if err := a.Remove(slot); err != nil {
		t.Fatal(err)
	}
	if used, _ := a.Used(slot); len(used) != 1 {
		t.Error("Remove removed the mark: the shim would wait for a second checkpoint")
	}
	if used, _ := a.Used(staging.Slot{PodUID: slot.PodUID, Container: "car"}); len(used) != 0 {
		t.Error("the mark counts for a container whose name begins alike")
	}
}

func TestCommitTwice(t *testing.T) {
	a := staging.At(t.TempDir())
	first, second := draft(t, a), draft(t, a)
	if err := first.Commit(withFiles()); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(withFiles()); err != nil {
		t.Errorf("the same checkpoint again: %v", err)
	}
	other := withFiles()
	other.Image = "registry.example.com/ckpt@sha256:def"
	if err := draft(t, a).Commit(other); err == nil {
		t.Error("another checkpoint was put over the first")
	}
	if got, _ := a.Staged(slot); !got.Same(record()) {
		t.Errorf("staged is %+v", got)
	}
}

func TestSlotsThatAreNoNames(t *testing.T) {
	a := staging.At(t.TempDir())
	for _, s := range []staging.Slot{
		{PodUID: "", Container: "c"},
		{PodUID: "..", Container: "c"},
		{PodUID: "a/b", Container: "c"},
		{PodUID: "u", Container: ""},
		{PodUID: "u", Container: "../c"},
		{PodUID: "u", Container: "c.used-x"},
	} {
		if _, err := a.Begin(s); err == nil {
			t.Errorf("Begin accepted %+v", s)
		}
		if _, err := a.Take(s, "id"); err == nil {
			t.Errorf("Take accepted %+v", s)
		}
		if err := a.Remove(s); err == nil {
			t.Errorf("Remove accepted %+v", s)
		}
		if err := a.Wait(t.Context(), s, t.TempDir()); err == nil {
			t.Errorf("Wait accepted %+v", s)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		tamper func(t *testing.T, dir string)
		want   func(*staging.Want)
		reason string
	}{
		"changed byte":      {tamper: func(t *testing.T, dir string) { write(t, dir+"/checkpoint/pages-1.img", "mem0ry") }, reason: "SHA-256"},
		"shorter file":      {tamper: func(t *testing.T, dir string) { write(t, dir+"/checkpoint/pages-1.img", "mem") }, reason: "3 bytes"},
		"missing file":      {tamper: func(t *testing.T, dir string) { os.Remove(dir + "/rootfs-diff.tar") }, reason: "no such file"},
		"file too many":     {tamper: func(t *testing.T, dir string) { write(t, dir+"/checkpoint/core-9.img", "x") }, reason: "does not belong"},
		"directory":         {tamper: func(t *testing.T, dir string) { _ = os.Mkdir(dir+"/checkpoint/d", 0o700) }, reason: "does not belong"},
		"symbolic link":     {tamper: link, reason: "does not belong"},
		"no images":         {tamper: func(t *testing.T, dir string) { os.RemoveAll(dir + "/checkpoint") }, reason: "no directory"},
		"no record":         {tamper: func(t *testing.T, dir string) { os.Remove(dir + "/restore.json") }, reason: "no such file"},
		"broken record":     {tamper: func(t *testing.T, dir string) { write(t, dir+"/restore.json", "{") }, reason: "restore.json"},
		"no migration":      {want: func(w *staging.Want) { w.MigrationUID = "" }, reason: "migration"},
		"another migration": {want: func(w *staging.Want) { w.MigrationUID = "m-2" }, reason: "migration"},
		"another namespace": {want: func(w *staging.Want) { w.Namespace = "bank" }, reason: "namespace"},
		"another pod":       {want: func(w *staging.Want) { w.PodName = "cart-1" }, reason: "pod"},
		"another UID":       {want: func(w *staging.Want) { w.Slot.PodUID = "5f0c-2" }, reason: "pod UID"},
		"another container": {want: func(w *staging.Want) { w.Slot.Container = "proxy" }, reason: "container"},
	} {
		t.Run(name, func(t *testing.T) {
			a := staging.At(t.TempDir())
			stage(t, a)
			dir, err := a.Take(slot, "c1")
			if err != nil {
				t.Fatal(err)
			}
			w := want()
			if tc.tamper != nil {
				tc.tamper(t, dir)
			}
			if tc.want != nil {
				tc.want(&w)
			}
			_, err = staging.Verify(t.Context(), dir, w)
			if err == nil || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("Verify: %v, want it to name %q", err, tc.reason)
			}
		})
	}
}

// link puts a link to a file of the same contents in a file's place.
func link(t *testing.T, dir string) {
	t.Helper()
	elsewhere := filepath.Join(t.TempDir(), "pages")
	write(t, elsewhere, contents["checkpoint/pages-1.img"])
	name := filepath.Join(dir, "checkpoint", "pages-1.img")
	if err := errors.Join(os.Remove(name), os.Symlink(elsewhere, name)); err != nil {
		t.Fatal(err)
	}
}

func TestWait(t *testing.T) {
	bundle := t.TempDir()
	a := staging.At(t.TempDir())
	done := make(chan error, 1)
	go func() { done <- a.Wait(t.Context(), slot, bundle) }()
	d := draft(t, a)
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the whole checkpoint: %v", err)
	default:
	}
	if err := d.Commit(withFiles()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Wait: %v", err)
	}
	if err := a.Wait(t.Context(), slot, bundle); err != nil {
		t.Errorf("Wait for what is there: %v", err)
	}
}

func TestWaitGivesUp(t *testing.T) {
	a := staging.At(t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := a.Wait(ctx, slot, t.TempDir()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its time Wait returned %v", err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := os.Mkdir(bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Wait(t.Context(), slot, bundle) }()
	if err := os.Remove(bundle); err != nil {
		t.Fatal(err)
	}
	// The watch may not stand yet when the bundle goes: then there is none to watch.
	if err := <-done; !errors.Is(err, staging.ErrAbandoned) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its bundle went Wait returned %v", err)
	}
}

// TestUnwatched: where the kernel has no watchers left, it is waited all the same.
func TestUnwatched(t *testing.T) {
	t.Cleanup(staging.Unwatched(fmt.Errorf("couldn't initialize inotify: %w", syscall.EMFILE)))
	t.Run("Wait", TestWait)
	t.Run("gives up", TestWaitGivesUp)
	t.Run("withdrawn", TestWithdraw)
	staging.Unwatched(errors.ErrUnsupported)
	if err := staging.At(t.TempDir()).Wait(t.Context(), slot, t.TempDir()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("for another reason: %v", err)
	}
}

func TestWithdraw(t *testing.T) {
	a := staging.At(t.TempDir())
	bundle := t.TempDir()
	done := make(chan error, 1)
	go func() { done <- a.Wait(t.Context(), slot, bundle) }()
	if err := a.Withdraw(slot); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, staging.ErrWithdrawn) {
		t.Errorf("Wait: %v", err)
	}
	stage(t, a)
	if err := a.Wait(t.Context(), slot, bundle); err != nil {
		t.Errorf("staged after all, Wait: %v", err)
	}
	if err := a.Withdraw(slot); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Staged(slot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("withdrawn, Staged: %v", err)
	}
}

func TestSweep(t *testing.T) {
	root := t.TempDir()
	a := staging.At(root)
	stage(t, a)
	draft(t, a)
	gone := staging.Slot{PodUID: "gone", Container: "cart"}
	if _, err := a.Begin(gone); err != nil {
		t.Fatal(err)
	}
	log := a.LogPath(gone)
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, log, "log")
	if err := a.Sweep(func(uid string) bool { return uid == slot.PodUID }); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(root, "restore", "gone"), log} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	if err := a.RemoveDrafts(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(root, "restore", slot.PodUID))
	if err != nil || len(entries) != 1 || entries[0].Name() != slot.Container {
		t.Errorf("left is %v, %v; want the staged checkpoint alone", entries, err)
	}
}

func TestAreaIsForRootAlone(t *testing.T) {
	root := filepath.Join(t.TempDir(), "ms2m")
	a := staging.At(root)
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(root)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the area has mode %v, %v", info.Mode(), err)
	}
}
