package checkpoint

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
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
	src := &source{r: r}
	archive, err := walk(src, func(hdr *tar.Header, body io.Reader) error {
		if hdr.Name != staging.RootfsDiff && path.Dir(hdr.Name) != staging.ImagesDir {
			return nil
		}
		file, err := writeFile(root, hdr.Name, body)
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

func writeFile(root *os.Root, name string, body io.Reader) (staging.File, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return staging.File{}, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return staging.File{Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
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
