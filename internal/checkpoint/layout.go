package checkpoint

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"ms2m.dev/ms2m/internal/staging"
)

// Unpack lays out in dir what a restore needs of an archive (CRIU's images and
// the writable layer) and returns what it wrote. It reads r to its end, so that
// a reader which checks a digest there has had its say.
func Unpack(r io.Reader, dir string) (*Archive, map[string]staging.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	if err := root.Mkdir(staging.ImagesDir, 0o700); err != nil {
		return nil, nil, err
	}
	files := map[string]staging.File{}
	hasher := staging.NewHasher(writing)
	src := &source{r: r}
	archive, err := walk(src, func(hdr *tar.Header, body io.Reader) error {
		if hdr.Name != staging.RootfsDiff && path.Dir(hdr.Name) != staging.ImagesDir {
			return nil
		}
		file, err := writeFile(root, hdr.Name, body, hasher)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return readError(err)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", hdr.Name, err)
		}
		files[hdr.Name] = file
		return nil
	})
	if err == nil {
		_, err = io.Copy(io.Discard, src)
	}
	if src.err != nil {
		// The tar looks cut off when its source broke down: the source's word counts.
		err = fmt.Errorf("read checkpoint archive: %w", src.err)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		return nil, nil, invalid("it has no images of CRIU")
	}
	return archive, files, nil
}

// writing is how many blocks of a file are written and hashed at once.
const writing = 4

// writeFile writes a file while its blocks are hashed.
func writeFile(root *os.Root, name string, body io.Reader, h *staging.Hasher) (staging.File, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return staging.File{}, err
	}
	for err == nil {
		err = writeBlock(f, body, h)
	}
	if cerr := f.Close(); errors.Is(err, io.EOF) {
		err = cerr
	}
	return h.File(), err
}

// writeBlock writes and hashes the next block; io.EOF: it was the last.
func writeBlock(f io.Writer, body io.Reader, h *staging.Hasher) error {
	block := h.Block()
	n, err := readBlock(body, block)
	h.Add(block[:n])
	if _, werr := f.Write(block[:n]); werr != nil {
		return werr
	}
	return err
}

// readBlock is io.ReadFull that leaves the reader's error as it is: that a file ends
// is something else than that its archive does.
func readBlock(r io.Reader, block []byte) (n int, err error) {
	for n < len(block) && err == nil {
		var more int
		more, err = r.Read(block[n:])
		n += more
	}
	return n, err
}

// source remembers the error that its reader ended with.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
