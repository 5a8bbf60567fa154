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
	for name, file := range r.Files {
		if len(file.Blocks) > 0 && int64(len(file.Blocks)) != file.blocks() {
			return "", fmt.Errorf("its record has %d digests for the %d bytes of %s", len(file.Blocks), file.Size, name)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), maxVerifiers))
	for name, file := range r.Files {
		if len(file.Blocks) == 0 {
			g.Go(func() error { return verifyFile(ctx, dir, name, file) })
		}
		for first := 0; first < len(file.Blocks); first += stretch {
			g.Go(func() error { return verifyBlocks(ctx, dir, name, file, first) })
		}
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

// openStaged opens a file that must be as long as its record says.
func openStaged(dir, name string, want File) (*os.File, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%q leads out of its directory", name)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != want.Size {
		err = fmt.Errorf("%s has %d bytes instead of %d", name, info.Size(), want.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

const (
	// stretch is how many blocks of a file one goroutine verifies.
	stretch = 16
	// maxVerifiers bounds how many do, and with that what a start takes from a node.
	maxVerifiers = 8
)

func verifyBlocks(ctx context.Context, dir, name string, want File, first int) error {
	f, err := openStaged(dir, name, want)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, BlockSize)
	for i := first; i < min(first+stretch, len(want.Blocks)); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin := int64(i) * BlockSize
		n := min(BlockSize, want.Size-begin)
		if _, err := f.ReadAt(block[:n], begin); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if sum := sha256.Sum256(block[:n]); hex.EncodeToString(sum[:]) != want.Blocks[i] {
			return differs(name)
		}
	}
	return nil
}

func differs(name string) error {
	return fmt.Errorf("%s is not what was staged: its SHA-256 differs", name)
}

func verifyFile(ctx context.Context, dir, name string, want File) error {
	f, err := openStaged(dir, name, want)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &ctxReader{ctx: ctx, r: f}); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return differs(name)
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
