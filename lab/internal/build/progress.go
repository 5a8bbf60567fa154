package build

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// interval is the time between two lines of progress: a build that takes minutes
// shows that it lives, and does not fill a log.
const interval = 10 * time.Second

// progress turns the package names that go build -v prints into a line now and then.
type progress struct {
	out   io.Writer
	what  string
	start time.Time
	stop  chan struct{}
	wg    sync.WaitGroup

	mu       sync.Mutex
	packages int
}

func newProgress(out io.Writer, what string) *progress {
	p := &progress{out: out, what: what, start: time.Now(), stop: make(chan struct{})}
	fmt.Fprintf(out, "building %s\n", what)
	p.wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.line("building")
			}
		}
	})
	return p
}

// Write counts the packages named in the output of go build -v.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.packages += bytes.Count(b, []byte("\n"))
	p.mu.Unlock()
	return len(b), nil
}

func (p *progress) line(verb string) {
	p.mu.Lock()
	n := p.packages
	p.mu.Unlock()
	fmt.Fprintf(p.out, "%s %s: %d packages, %s\n", verb, p.what, n, time.Since(p.start).Round(time.Second))
}

func (p *progress) done(verb string) {
	close(p.stop)
	p.wg.Wait()
	p.line(verb)
}
