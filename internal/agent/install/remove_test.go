package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// files are all files and directories below dir, with what is in the files.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		all.WriteString(path + "\n")
		if !d.IsDir() {
			all.WriteString(read(t, path) + "\n")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestRemove: the node is as it was before, with what others have put there.
func TestRemove(t *testing.T) {
	for name, before := range map[string]map[string]string{
		"nothing was there": nil,
		"files of others":   {"criu/runc.conf": "ghost-limit 1G\nskip-in-flight\n", "criu/default.conf": "# of the admin\nlog-level 4\n", "other.toml": "version = 3\n[x]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainerd(t, "v2.4.2")
			i := newInstaller(t, c)
			i.CRIUVersion = func(context.Context) (string, error) { return "4.1.1", nil }
			for file, content := range before {
				if err := os.WriteFile(filepath.Join(i.ConfigDir, file), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			was := files(t, i.ConfigDir)
			if before == nil {
				was = strings.ReplaceAll(was, i.CRIUHome+"\n", "") // an empty one is nobody's
			}
			for range 2 { // an agent is started again now and then
				if err := i.Install(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := i.Removed(t.Context()); err == nil {
				t.Error("removed before it was")
			}
			c.started = time.Time{} // long ago
			for range 2 {
				if err := i.Remove(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := i.Removed(t.Context()); err != nil {
				t.Errorf("Removed: %v", err)
			}
			if is := files(t, i.ConfigDir); is != was {
				t.Errorf("before:\n%s\nafter:\n%s", was, is)
			}
			if c.restarts != 2 {
				t.Errorf("containerd was restarted %d times, want once with the handler and once without", c.restarts)
			}
		})
	}
}

// TestRemoveIsBegunAgain: an agent that dies at the restart leaves enough for the next
// one to see that containerd still has the handler.
func TestRemoveIsBegunAgain(t *testing.T) {
	c := newContainerd(t, "v2.4.2")
	i := newInstaller(t, c)
	if err := i.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	imports := c.imports
	c.started = time.Time{}
	c.imports = "" // it does not read it, and so goes on with the handler
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.Remove(ctx); err == nil {
		t.Fatal("removed while containerd has the handler")
	}
	if _, err := os.Stat(i.shimPath()); err != nil {
		t.Errorf("the shim went while containerd has the handler: %v", err)
	}
	c.imports = imports
	c.started = time.Time{} // it was not restarted, after all
	if err := i.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := i.Removed(t.Context()); err != nil {
		t.Errorf("Removed: %v", err)
	}
}

// TestHandlerOfOthers is left alone, and said.
func TestHandlerOfOthers(t *testing.T) {
	c := newContainerd(t, "v2.4.2")
	i := newInstaller(t, c)
	if err := i.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(i.configPath()); err != nil {
		t.Fatal(err)
	}
	if err := i.Remove(t.Context()); !errors.Is(err, errHandlerElsewhere) || c.restarts != 1 {
		t.Errorf("%v, %d restarts", err, c.restarts)
	}
}
