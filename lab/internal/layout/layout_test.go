package layout

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestDefault(t *testing.T) {
	t.Setenv("MS2M_CACHE", "/c")
	t.Setenv("MS2M_LAB_DIR", "")
	c, s, err := Default()
	if err != nil || c.Dir != "/c" || s.Dir != "/c/lab" {
		t.Errorf("got %v, %v, %v", c, s, err)
	}
	t.Setenv("MS2M_LAB_DIR", "/s")
	if _, s, err = Default(); err != nil || s.Dir != "/s" {
		t.Errorf("got %v, %v", s, err)
	}
	t.Setenv("MS2M_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/x")
	if c, _, err = Default(); err != nil || c.Dir != "/x/ms2m" {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "lock")
	unlock, err := Lock(path, func() { t.Error("waits for a lock that is free") })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	unlock()
	unlock, err = TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
