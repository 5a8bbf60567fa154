package checkpoint_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"ms2m.dev/ms2m/internal/checkpoint"
)

const block = 1 << 20

// Any archive comes out as it went in, has the digests of what it is, and has them
// again when it is packed again.
func TestPackAnyBytes(t *testing.T) {
	for _, size := range []int{1, 511, block - 1, block, block + 1, 9*block + 12_345} {
		for kind, mediaType := range map[string]types.MediaType{
			"noise": types.OCIUncompressedLayer, "words": types.OCILayerZStd, "zeros": types.OCILayerZStd,
		} {
			if size == 1 {
				mediaType = types.OCIUncompressedLayer // nothing packs a byte
			}
			data := make([]byte, size)
			rng := rand.NewChaCha8([32]byte{byte(size)})
			switch kind {
			case "noise":
				_, _ = rng.Read(data)
			case "words":
				words := rand.New(rng)
				for i := 0; i < size; i += 16 {
					copy(data[i:], fmt.Sprintf("%016x", words.IntN(64)))
				}
			}
			img := pack(t, data)
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := layers[0].MediaType(); got != mediaType {
				t.Errorf("%d bytes of %s travel as %s", size, kind, got)
			}
			packed := read(t, layers[0])
			if got, _ := layers[0].Digest(); got.Hex != hexOf(packed) {
				t.Errorf("%d bytes of %s: the digest is not that of what is sent", size, kind)
			}
			if got, _ := layers[0].DiffID(); got.Hex != hexOf(data) {
				t.Errorf("%d bytes of %s: the diff ID is not that of the archive", size, kind)
			}
			if got, _ := layers[0].Size(); got != int64(len(packed)) {
				t.Errorf("%d bytes of %s: size %d, sent %d", size, kind, got, len(packed))
			}
			if again := digest(t, pack(t, data)); again != digest(t, img) {
				t.Errorf("%d bytes of %s: packed again it has another digest", size, kind)
			}
			contents, err := checkpoint.Contents(img, "m-1")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(contents); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %s: %d came out, %v", size, kind, len(got), err)
			}
			contents.Close()
		}
	}
}

// A push that is broken off gives its reader up, anywhere; the next begins anew.
func TestPackIsBrokenOff(t *testing.T) {
	data := bytes.Repeat([]byte("a page of memory\x00"), 300_000)
	img := packLater(t, bytes.NewReader(data), int64(len(data)))
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, sent := range []int64{0, 1, 100, 1_000} {
		r, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, sent); err != nil {
			t.Fatal(err)
		}
		r.Close()
		// What is on its way already may come; that it was all must not be said.
		if _, err := io.Copy(io.Discard, r); err == nil {
			if _, err := layers[0].Digest(); err != nil {
				t.Errorf("after %d bytes it ends like a whole one", sent)
			}
		}
	}
	read(t, layers[0])
	if got, want := digest(t, img), digest(t, pack(t, data)); got != want {
		t.Errorf("at last the digest is %s, not %s", got, want)
	}
}

// torn is an archive that ends, or fails, before its size.
type torn struct {
	io.ReaderAt
	at  int64
	err error
}

func (b torn) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, b.err
	}
	return b.ReaderAt.ReadAt(p, off)
}

func TestPackOfATornArchive(t *testing.T) {
	data := bytes.Repeat([]byte("a page of memory\x00"), 500_000)
	broken := errors.New("I/O error")
	archive := &torn{bytes.NewReader(data), int64(len(data)), broken}
	img := packLater(t, archive, int64(len(data)))
	archive.at = 5 * block
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, broken) {
		t.Errorf("it was read to %v", err)
	}
	if _, err := img.Digest(); !errors.Is(err, stream.ErrNotComputed) {
		t.Errorf("it has a digest all the same: %v", err)
	}
}

func read(t *testing.T, l v1.Layer) []byte {
	t.Helper()
	r, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func hexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
