package staging_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"ms2m.dev/ms2m/internal/staging"
)

const blockSize = staging.BlockSize

func hashed(h *staging.Hasher, data []byte) staging.File {
	for len(data) > 0 {
		block := h.Block()
		n := copy(block, data)
		h.Add(block[:n])
		data = data[n:]
	}
	return h.File()
}

// Whatever a file has for a length, it is accepted as it was hashed and refused with
// any change, wherever a block begins or ends.
func TestVerifyBlocks(t *testing.T) {
	hasher := staging.NewHasher(3)
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 2 * blockSize, 19*blockSize + 5} {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
		file := hashed(hasher, data)
		if again := hashed(hasher, data); len(again.Blocks) != len(file.Blocks) || again.SHA256 != file.SHA256 {
			t.Errorf("%d bytes: the next file's digests are of more than itself", size)
		}
		a := staging.At(t.TempDir())
		d := draft(t, a)
		path := filepath.Join(staging.ImagesDir, "pages-1.img")
		r := withFiles()
		r.Files[filepath.ToSlash(path)] = file
		write(t, filepath.Join(d.Dir, path), string(data))
		if err := d.Commit(r); err != nil {
			t.Fatal(err)
		}
		dir, err := a.Take(slot, "c1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := staging.Verify(t.Context(), dir, want()); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		changed := map[string][]byte{"longer": append(bytes.Clone(data), 0)}
		if size > 0 {
			changed["shorter"] = data[:size-1]
		}
		for _, at := range []int{0, blockSize - 1, blockSize, 17 * blockSize, size - 1} {
			if at >= 0 && at < size {
				other := bytes.Clone(data)
				other[at] ^= 0x10
				changed["another byte"] = other
				refuse(t, dir, path, changed)
			}
		}
		refuse(t, dir, path, changed)
	}
}

func refuse(t *testing.T, dir, path string, changed map[string][]byte) {
	t.Helper()
	for how, data := range changed {
		write(t, filepath.Join(dir, path), string(data))
		if _, err := staging.Verify(t.Context(), dir, want()); err == nil {
			t.Errorf("%s: %d bytes are accepted", how, len(data))
		}
	}
}

// A record that leaves blocks out vouches for less than the file.
func TestVerifyRefusesTooFewDigests(t *testing.T) {
	data := make([]byte, 3*blockSize)
	for name, change := range map[string]func(*staging.File){
		"one block is left out":  func(f *staging.File) { f.Blocks = f.Blocks[:2] },
		"one block too many":     func(f *staging.File) { f.Blocks = append(f.Blocks, f.Blocks[0]) },
		"no digest":              func(f *staging.File) { f.Blocks = nil },
		"a size below zero":      func(f *staging.File) { f.Size = -f.Size },
		"two blocks in disorder": func(f *staging.File) { f.Blocks[0], f.Blocks[1] = f.Blocks[1], f.Blocks[0] },
	} {
		data[0] = 1
		file := hashed(staging.NewHasher(1), data)
		change(&file)
		a := staging.At(t.TempDir())
		d := draft(t, a)
		path := filepath.Join(staging.ImagesDir, "pages-1.img")
		if err := os.WriteFile(filepath.Join(d.Dir, path), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := withFiles()
		r.Files[filepath.ToSlash(path)] = file
		if err := d.Commit(r); err != nil {
			t.Fatal(err)
		}
		dir, err := a.Take(slot, "c1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := staging.Verify(t.Context(), dir, want()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
