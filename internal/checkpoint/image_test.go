package checkpoint_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/staging"
)

func TestPackAndUnpack(t *testing.T) {
	data := archive(t)
	img := pack(t, data)
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Errorf("not a valid image: %v", err)
	}
	if img.ArchiveBytes != int64(len(data)) {
		t.Errorf("the archive has %d bytes, want %d", img.ArchiveBytes, len(data))
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"org.criu.checkpoint.container.name", "io.kubernetes.cri-o.annotations.checkpoint.name"} {
		if manifest.Annotations[key] != "cart" {
			t.Errorf("annotation %s is %q", key, manifest.Annotations[key])
		}
	}

	contents, err := checkpoint.Contents(img, "m-1")
	if err != nil {
		t.Fatal(err)
	}
	defer contents.Close()
	dir := t.TempDir()
	got, files, err := checkpoint.Unpack(contents, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Origin != source {
		t.Errorf("origin is %+v", got.Origin)
	}
	want := []string{"checkpoint/inventory.img", "checkpoint/pages-1.img", staging.RootfsDiff}
	if len(files) != len(want) {
		t.Errorf("unpacked %v, want %v: what a restore does not need is not laid out", files, want)
	}
	for _, name := range want {
		if _, ok := files[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	pages, err := os.ReadFile(filepath.Join(dir, "checkpoint", "pages-1.img"))
	if err != nil || !bytes.Equal(pages, checkpointtest.Pages) {
		t.Errorf("memory did not survive: %d bytes, %v", len(pages), err)
	}
}

// A push that a crash interrupted is made again by another process, perhaps with
// another number of cores; it must come to the same digest.
func TestPackIsReproducible(t *testing.T) {
	data := archive(t)
	first := digest(t, pack(t, data))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for cores := 1; cores <= 4; cores++ {
		runtime.GOMAXPROCS(cores)
		if again := digest(t, pack(t, data)); again != first {
			t.Errorf("with %d cores the digest is %s instead of %s", cores, again, first)
		}
	}
}

func TestContentsRefuses(t *testing.T) {
	_, err := checkpoint.Contents(pack(t, archive(t)), "m-2")
	if err == nil || fault.Of(err).Reason != v1alpha1.TransferReasonInvalidArchive {
		t.Errorf("an image of another migration: %v", err)
	}
}

// pack packs an archive and, as a push does, reads it to its end.
func pack(t *testing.T, archive []byte) *checkpoint.Image {
	t.Helper()
	img := packLater(t, bytes.NewReader(archive), int64(len(archive)))
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	return img
}

func packLater(t *testing.T, archive io.ReaderAt, size int64) *checkpoint.Image {
	t.Helper()
	img, err := checkpoint.Pack(archive, size, checkpoint.Label{Origin: source, MigrationUID: "m-1", Node: "node-a"})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digest(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}
