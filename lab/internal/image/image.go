// Package image makes OCI images of one layer from files, without a container
// engine, and pushes them.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is a file or a directory of the host's, and where it goes.
type File struct{ Source, Target string }

// Spec says what an image is made of.
type Spec struct {
	Files      []File
	Entrypoint []string
	Env        []string
	User       string
	CABundle   []byte // written to where programs look for it, if given
}

// passwd names the users that images commonly run as.
const passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\nnobody:x:65534:65534:nobody:/tmp:/sbin/nologin\n"

const group = "root:x:0:\nnonroot:x:65532:\nnobody:x:65534:\n"

// Build makes the image. Equal inputs make equal images: no time goes in.
func Build(s Spec) (v1.Image, error) {
	data, err := layer(s)
	if err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(1))
	if err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS:           "linux",
		Architecture: runtime.GOARCH,
		RootFS:       v1.RootFS{Type: "layers"},
		Config:       v1.Config{Entrypoint: s.Entrypoint, Env: env(s.Env), User: s.User, WorkingDir: "/"},
	})
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	img, err = mutate.AppendLayers(img, l)
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	return img, nil
}

// env adds a PATH if there is none.
func env(given []string) []string {
	if slices.ContainsFunc(given, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") }) {
		return given
	}
	return append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/"}, given...)
}

// layer is the tar archive of the image's only layer.
func layer(s Spec) ([]byte, error) {
	var buf bytes.Buffer
	w := writer{Writer: tar.NewWriter(&buf), made: map[string]bool{".": true}}
	if err := w.dir("tmp", 0o1777); err != nil {
		return nil, err
	}
	if err := w.content("etc/passwd", 0o644, []byte(passwd)); err != nil {
		return nil, err
	}
	if err := w.content("etc/group", 0o644, []byte(group)); err != nil {
		return nil, err
	}
	if len(s.CABundle) > 0 {
		if err := w.content("etc/ssl/certs/ca-certificates.crt", 0o644, s.CABundle); err != nil {
			return nil, err
		}
	}
	for _, f := range s.Files {
		if err := w.tree(f); err != nil {
			return nil, fmt.Errorf("add %s to the image: %w", f.Source, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	return buf.Bytes(), nil
}

// writer writes files, and the directories above them before them.
type writer struct {
	*tar.Writer
	made map[string]bool
}

func (w writer) dir(name string, mode int64) error {
	if w.made[name] {
		return nil
	}
	if err := w.dir(path.Dir(name), 0o755); err != nil {
		return err
	}
	w.made[name] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
}

func (w writer) content(name string, mode int64, data []byte) error {
	if err := w.dir(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// tree adds a file, or a directory with everything in it.
func (w writer) tree(f File) error {
	return filepath.WalkDir(f.Source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(f.Source, p)
		if err != nil {
			return err
		}
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		target := strings.TrimPrefix(path.Join("/", f.Target, filepath.ToSlash(rel)), "/")
		mode := int64(info.Mode().Perm())
		if info.IsDir() {
			return w.dir(target, mode)
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return w.content(target, mode, data)
	})
}

// Push pushes the image and returns the reference by digest.
func Push(ctx context.Context, reference string, img v1.Image, transport http.RoundTripper) (string, error) {
	ref, err := name.NewTag(reference, name.StrictValidation)
	if err != nil {
		return "", fmt.Errorf("image name (it must be NAME:TAG): %w", err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx), remote.WithTransport(transport)); err != nil {
		return "", fmt.Errorf("push %s: %w", reference, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", reference, err)
	}
	return reference + "@" + digest.String(), nil
}
