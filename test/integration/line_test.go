package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// line is the way of one manager to the API server. On it things can go wrong, by
// a seeded random, and it can be cut.
type line struct {
	inner http.RoundTripper
	bad   bool // things go wrong

	mu     sync.Mutex
	rand   *rand.Rand
	lost   map[string]bool // watches of which an event was lost, by path
	writes int             // that reached the API server
	faults map[string]int  // what went wrong

	up   context.Context // until the line is cut
	cut  context.CancelFunc
	down bool
}

// How often things go wrong on a bad line, in a hundred.
const (
	refused   = 4 // a request does not reach the API server: 429, 500, 503, and 409 for a write
	unheard   = 3 // it does, and the answer is lost
	delayed   = 15
	repeated  = 10
	vanishing = 3 // an event is lost
	ending    = 3 // a watch ends
)

// lag is the longest time that an event is late, and the cache with it.
const lag = 250 * time.Millisecond

func newLine(seed uint64) *line {
	l := &line{bad: seed != 0, rand: rand.New(rand.NewPCG(seed, seed)), lost: map[string]bool{}, faults: map[string]int{}}
	l.up, l.cut = context.WithCancel(context.Background())
	return l
}

// config is how to reach the API server over the line.
func (l *line) config() *rest.Config {
	c := rest.CopyConfig(cfg)
	c.ContentType = "application/json" // an event of a watch is a line of text
	c.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.inner = rt
		return l
	})
	return c
}

// sever cuts the line, mend mends it.
func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	l.cut()
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
	l.up, l.cut = context.WithCancel(context.Background())
}

// chance is true in so many of a hundred, if things go wrong at all.
func (l *line) chance(percent int, what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.bad || l.rand.IntN(100) >= percent {
		return false
	}
	l.faults[what]++
	return true
}

var errCut = errors.New("the line is cut")

func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	inner, up, down := l.inner, l.up, l.down
	l.mu.Unlock()
	if down {
		return nil, errCut
	}
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(up, cancel)
	if req.URL.Query().Get("watch") != "" {
		return l.watch(req.WithContext(ctx), inner)
	}
	defer stop()
	if l.chance(refused, "refused") {
		cancel()
		return l.refuse(req), nil
	}
	resp, err := inner.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if req.Method != http.MethodGet {
		l.mu.Lock()
		l.writes++
		l.mu.Unlock()
	}
	if l.chance(unheard, "unheard") {
		resp.Body.Close()
		cancel()
		return answer(req, http.StatusGatewayTimeout, metav1.StatusReasonTimeout), nil
	}
	return resp, nil
}

// refuse answers in the API server's place.
func (l *line) refuse(req *http.Request) *http.Response {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := []func() *http.Response{
		func() *http.Response {
			return answer(req, http.StatusInternalServerError, metav1.StatusReasonInternalError)
		},
		func() *http.Response {
			r := answer(req, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
			r.Header.Set("Retry-After", "1")
			return r
		},
		func() *http.Response {
			r := answer(req, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
			r.Header.Set("Retry-After", "1")
			return r
		},
	}
	if req.Method != http.MethodGet && req.Method != http.MethodPost {
		conflict := func() *http.Response { return answer(req, http.StatusConflict, metav1.StatusReasonConflict) }
		kinds = append(kinds, conflict, conflict, conflict)
	}
	return kinds[l.rand.IntN(len(kinds))]()
}

func answer(req *http.Request, code int, reason metav1.StatusReason) *http.Response {
	body, _ := json.Marshal(metav1.Status{ // of plain fields
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "by the test",
	})
	return &http.Response{
		StatusCode: code, Status: fmt.Sprintf("%d %s", code, reason), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": []string{"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: req,
	}
}

// watch is a watch whose events come late, twice or not at all. After one that does
// not come everything is read anew, as when the API server has forgotten what was
// in between.
func (l *line) watch(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
	path := req.URL.Path
	l.mu.Lock()
	gone := l.lost[path]
	delete(l.lost, path)
	l.mu.Unlock()
	if gone {
		return answer(req, http.StatusGone, metav1.StatusReasonExpired), nil
	}
	resp, err := inner.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusOK {
		resp.Body = &shaky{line: l, path: path, inner: resp.Body, events: bufio.NewReader(resp.Body)}
	}
	return resp, err
}

// shaky is the body of a watch.
type shaky struct {
	line   *line
	path   string
	inner  io.Closer
	events *bufio.Reader
	rest   []byte
}

func (s *shaky) Close() error { return s.inner.Close() }

func (s *shaky) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		event, err := s.events.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		if s.line.chance(delayed, "delayed") {
			<-time.After(s.line.some(lag))
		}
		switch {
		case s.line.chance(vanishing, "lost"):
			s.line.mu.Lock()
			s.line.lost[s.path] = true
			s.line.mu.Unlock()
			return 0, io.EOF
		case s.line.chance(repeated, "repeated"):
			event = append(event, event...)
		case s.line.chance(ending, "ended"):
			return 0, io.EOF
		}
		s.rest = event
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// some is a part of a duration.
func (l *line) some(d time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.rand.Int64N(int64(d)))
}
