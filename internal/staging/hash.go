package staging

import (
	"crypto/sha256"
	"encoding/hex"
)

// BlockSize is the piece of a large file that has a digest of its own: SHA-256 of one
// stream takes one core, however many there are.
const BlockSize = 1 << 20

// File is what a staged file must be.
type File struct {
	// Size in bytes.
	Size int64 `json:"size"`
	// SHA256 in hexadecimal; of a file with Blocks it is empty.
	SHA256 string `json:"sha256,omitempty"`
	// Blocks are the SHA-256 of each BlockSize bytes of a file that has more, the last
	// of what remains.
	Blocks []string `json:"blocks,omitempty"`
}

// blocks is how many Blocks f has to have.
func (f File) blocks() int64 { return (f.Size + BlockSize - 1) / BlockSize }

// Hasher makes Files of what is written, and hashes several blocks at once meanwhile.
type Hasher struct {
	free   chan []byte
	size   int64
	blocks []*[sha256.Size]byte
}

// NewHasher is a Hasher that holds so many blocks.
func NewHasher(blocks int) *Hasher {
	h := &Hasher{free: make(chan []byte, blocks)}
	for range blocks {
		h.free <- nil // made when it is needed
	}
	return h
}

// Block is room for the next block of a file.
func (h *Hasher) Block() []byte {
	if block := <-h.free; block != nil {
		return block
	}
	return make([]byte, BlockSize)
}

// Add hashes what was put into the last Block, which may be read until the next is
// asked for. All but the last of a file must be full.
func (h *Hasher) Add(block []byte) {
	if len(block) == 0 {
		h.free <- block[:BlockSize]
		return
	}
	sum := new([sha256.Size]byte)
	h.size += int64(len(block))
	h.blocks = append(h.blocks, sum)
	go func() {
		*sum = sha256.Sum256(block)
		h.free <- block[:BlockSize]
	}()
}

// File is what was added since the last File.
func (h *Hasher) File() File {
	var all [][]byte
	for range cap(h.free) { // who has a block is not done
		all = append(all, <-h.free)
	}
	for _, block := range all {
		h.free <- block
	}
	f := File{Size: h.size}
	switch len(h.blocks) {
	case 0:
		empty := sha256.Sum256(nil)
		f.SHA256 = hex.EncodeToString(empty[:])
	case 1:
		f.SHA256 = hex.EncodeToString(h.blocks[0][:])
	default:
		for _, sum := range h.blocks {
			f.Blocks = append(f.Blocks, hex.EncodeToString(sum[:]))
		}
	}
	h.size, h.blocks = 0, nil
	return f
}
