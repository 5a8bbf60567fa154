package staging

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Want is what the taker knows of the checkpoint that it expects.
type Want struct {
	MigrationUID string
	Namespace    string
	PodName      string
	Slot         Slot
}

// Verify checks that the checkpoint in dir is the wanted one and that its files
// are exactly those of its record, byte for byte, and returns the image that it came
// from. It follows no symbolic link. Which image is the right one the manager has told the agent, in the leg that this
// is the end of: the pod is made before the image is.
func Verify(ctx context.Context, dir string, want Want) (image string, err error) {
	r, err := readRecord(dir)
	if err != nil {
		return "", err
	}
	for _, c := range []struct{ what, got, want string }{
		{"migration", r.MigrationUID, want.MigrationUID},
		{"namespace", r.Namespace, want.Namespace},
		{"pod", r.PodName, want.PodName},
		{"pod UID", r.PodUID, want.Slot.PodUID},
		{"container", r.Container, want.Slot.Container},
	} {
		if c.got != c.want || c.want == "" {
			return "", fmt.Errorf("it is for %s %q, not for %q", c.what, c.got, c.want)
		}
	}
	if err := onlyKnownFiles(dir, r.Files); err != nil {
		return "", err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for name, file := range r.Files {
		g.Go(func() error { return verifyFile(ctx, dir, name, file) })
	}
	return r.Image, g.Wait()
}

// onlyKnownFiles refuses what the record does not list: CRIU opens images by
// their name, so a file that nobody vouches for must not lie beside the others.
func onlyKnownFiles(dir string, files map[string]File) error {
	images := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		_, listed := files[filepath.ToSlash(rel)]
		switch {
		case rel == ".", rel == RecordFile && d.Type().IsRegular():
		case rel == ImagesDir && d.IsDir():
			images = true
		case listed && d.Type().IsRegular():
		default:
			return fmt.Errorf("%s does not belong to it", rel)
		}
		return nil
	})
	if err == nil && !images {
		return fmt.Errorf("it has no directory %s", ImagesDir)
	}
	return err
}

func verifyFile(ctx context.Context, dir, name string, want File) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%q leads out of its directory", name)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, &ctxReader{ctx: ctx, r: f})
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if n != want.Size {
		return fmt.Errorf("%s has %d bytes instead of %d", name, n, want.Size)
	}
	if hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%s is not what was staged: its SHA-256 differs", name)
	}
	return nil
}

// ctxReader ends a long read when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
