package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// blockSize is what is read, packed and hashed at a time. Each block becomes a frame
// of zstd, so all cores can pack and the outcome does not depend on how many there are.
const blockSize = 1 << 20

// maxPackers bounds the cores that one push takes from the node's pods.
const maxPackers = 4

// layer is an archive that is packed as it is read, for the upload: its digest is
// known only when a reader has come to the end. Until then it says so in the way in
// which the library's own streams do, which makes the library send the layer first
// and the rest after it. Unlike those, it can be read again: a push that was broken
// off begins anew from the archive.
type layer struct {
	archive   io.ReaderAt
	size      int64 // of the archive
	mediaType types.MediaType

	mu  sync.Mutex
	sum *summary
}

// summary is what is known of a layer when it has been read.
type summary struct {
	digest, diffID v1.Hash
	size           int64
}

// newLayer decides how the archive travels. Noise is not packed: it would become no
// smaller, and be hashed twice, once as what it is and once as what it is packed to.
func newLayer(archive io.ReaderAt, size int64) (*layer, error) {
	l := &layer{archive: archive, size: size, mediaType: packedType}
	noise, err := isNoise(archive, size)
	if noise {
		l.mediaType = plainType
	}
	return l, err
}

// Samples of an archive by which it is judged; what packs to more than maxPacked of
// its size is noise.
const (
	samples    = 32
	sampleSize = 32 << 10
	maxPacked  = 0.9
)

// isNoise judges an archive by samples from places that depend on its size alone, so
// that it is judged alike whenever it is pushed.
func isNoise(archive io.ReaderAt, size int64) (bool, error) {
	enc, err := newEncoder(1)
	if err != nil {
		return false, err
	}
	var (
		plain        = make([]byte, sampleSize)
		packed       []byte
		before, then int
	)
	for i := range int64(samples) {
		n, err := archive.ReadAt(plain, size/samples*i)
		if err != nil && err != io.EOF {
			return false, err
		}
		packed = enc.EncodeAll(plain[:n], packed[:0])
		before, then = before+n, then+len(packed)
	}
	return float64(then) > maxPacked*float64(before), nil
}

func newEncoder(concurrency int) (*zstd.Encoder, error) {
	// Without the frames' own checksums: the digest is of the same bytes. An encoder that
	// does nothing but EncodeAll has nothing to be closed.
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(concurrency),
		zstd.WithWindowSize(blockSize), zstd.WithEncoderCRC(false))
}

func (l *layer) summary() (summary, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum == nil {
		return summary{}, stream.ErrNotComputed
	}
	return *l.sum, nil
}

// Digest implements v1.Layer.
func (l *layer) Digest() (v1.Hash, error) {
	s, err := l.summary()
	return s.digest, err
}

// DiffID implements v1.Layer.
func (l *layer) DiffID() (v1.Hash, error) {
	s, err := l.summary()
	return s.diffID, err
}

// Size implements v1.Layer.
func (l *layer) Size() (int64, error) {
	if l.mediaType == plainType {
		return l.size, nil
	}
	s, err := l.summary()
	return s.size, err
}

// MediaType implements v1.Layer.
func (l *layer) MediaType() (types.MediaType, error) { return l.mediaType, nil }

// Uncompressed implements v1.Layer.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(l.archive, 0, l.size)), nil
}

// Compressed implements v1.Layer: each reader packs the archive from its beginning.
func (l *layer) Compressed() (io.ReadCloser, error) {
	var encoder *zstd.Encoder
	workers := min(runtime.GOMAXPROCS(0), maxPackers)
	if l.mediaType == packedType {
		var err error
		if encoder, err = newEncoder(workers); err != nil {
			return nil, err
		}
	}
	blocks := workers + 3 // those that are read, hashed and sent
	ctx, cancel := context.WithCancel(context.Background())
	p := &packer{layer: l, encoder: encoder, cancel: cancel, free: make(chan *block, blocks), out: make(chan *block, blocks)}
	for range blocks {
		p.free <- &block{plain: make([]byte, blockSize), packed: make(chan struct{}, 1), hashed: make(chan struct{}, 1)}
	}
	go p.work(ctx)
	return p, nil
}

// packer is a reader of a packed archive. One goroutine reads, several pack, and one
// for each digest hashes, while whoever calls Read sends. The blocks are few and go
// round; every channel has room for all, so that only a reader of the archive and a
// taker of the outcome ever wait, and Close ends all by stopping the former.
type packer struct {
	layer     *layer
	encoder   *zstd.Encoder // nil: the archive travels as it is
	cancel    context.CancelFunc
	free, out chan *block
	err       error // of the end, stands when out is closed

	now  *block
	rest []byte // of now, to be sent
}

// block is a piece of an archive.
type block struct {
	plain, frame   []byte
	size           int           // what is used of plain
	packed, hashed chan struct{} // frame stands; the digest of plain has it
}

// bytes are what travels of b.
func (p *packer) bytes(b *block) []byte {
	if p.encoder == nil {
		return b.plain[:b.size]
	}
	return b.frame
}

// Read implements io.Reader. At the end the layer's digest is known.
func (p *packer) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.now != nil {
			if p.encoder != nil {
				<-p.now.hashed
			}
			p.free <- p.now
		}
		var ok bool
		if p.now, ok = <-p.out; !ok {
			return 0, p.err
		}
		p.rest = p.bytes(p.now)
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Close implements io.Closer. HTTP's client may call it while it reads.
func (p *packer) Close() error {
	p.cancel()
	return nil
}

// work puts the blocks out in their order.
func (p *packer) work(ctx context.Context) {
	defer close(p.out)
	var (
		order  = make(chan *block, cap(p.free))
		read   = make(chan error, 1)
		plain  = newAside(cap(p.free))
		packed = sha256.New()
		sum    summary
	)
	go func() {
		defer close(order)
		defer plain.close()
		read <- p.read(ctx, func(b *block) {
			if p.encoder != nil {
				plain.blocks <- b
				go func() {
					b.frame = p.encoder.EncodeAll(b.plain[:b.size], b.frame[:0])
					b.packed <- struct{}{}
				}()
			}
			order <- b
		})
	}()
	for b := range order {
		if p.encoder != nil {
			<-b.packed
		}
		bytes := p.bytes(b)
		packed.Write(bytes)
		sum.size += int64(len(bytes))
		p.out <- b
	}
	if p.err = <-read; p.err != nil {
		return
	}
	sum.digest = hashOf(packed)
	sum.diffID = sum.digest
	if p.encoder != nil {
		sum.diffID = hashOf(plain.sum())
	}
	p.layer.mu.Lock()
	p.layer.sum = &sum
	p.layer.mu.Unlock()
	p.err = io.EOF
}

// read cuts the archive into blocks.
func (p *packer) read(ctx context.Context, next func(*block)) error {
	for offset := int64(0); offset < p.layer.size; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-p.free:
			b.size = int(min(blockSize, p.layer.size-offset))
			if n, err := p.layer.archive.ReadAt(b.plain[:b.size], offset); n < b.size {
				return fmt.Errorf("read checkpoint archive: %w", err)
			}
			offset += int64(b.size)
			next(b)
		}
	}
	return nil
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// aside hashes plain blocks in a goroutine of its own.
type aside struct {
	blocks chan *block
	done   chan hash.Hash
}

func newAside(room int) *aside {
	a := &aside{blocks: make(chan *block, room), done: make(chan hash.Hash, 1)}
	go func() {
		h := sha256.New()
		for b := range a.blocks {
			h.Write(b.plain[:b.size])
			b.hashed <- struct{}{}
		}
		a.done <- h
	}()
	return a
}

func (a *aside) close()         { close(a.blocks) }
func (a *aside) sum() hash.Hash { return <-a.done }
