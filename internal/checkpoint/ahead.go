package checkpoint

import "io"

// aheadBlocks is how many blocks a reader may be ahead of who takes from it.
const aheadBlocks = 4

// ahead reads in a goroutine of its own, so that what lies before it (the network, TLS,
// the digest) and what comes after it (unpacking, the disk) are at work at once.
type ahead struct {
	source     io.ReadCloser
	free, full chan []byte
	stop, done chan struct{}
	err        error // of the end, stands when full is closed

	now, rest []byte
}

func readAhead(source io.ReadCloser) *ahead {
	a := &ahead{
		source: source,
		free:   make(chan []byte, aheadBlocks), full: make(chan []byte, aheadBlocks),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	for range aheadBlocks {
		a.free <- make([]byte, blockSize)
	}
	go a.work()
	return a
}

func (a *ahead) work() {
	defer close(a.done)
	defer close(a.full)
	for a.err == nil {
		select {
		case <-a.stop:
			a.err = io.ErrClosedPipe
		case block := <-a.free:
			var n int
			n, a.err = readBlock(a.source, block)
			a.full <- block[:n]
		}
	}
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now != nil {
			a.free <- a.now[:cap(a.now)]
		}
		var ok bool
		if a.now, ok = <-a.full; !ok {
			return 0, a.err
		}
		a.rest = a.now
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close implements io.Closer. It returns when nothing is read any more.
func (a *ahead) Close() error {
	close(a.stop)
	err := a.source.Close()
	<-a.done
	return err
}
