package ownerhttp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ms2m.dev/ms2m/sdk"
	"ms2m.dev/ms2m/sdk/ownerhttp"
)

var _ ownerhttp.Process = (*sdk.Consumer)(nil)

// process is where a Consumer stands.
type process struct {
	mu      sync.Mutex
	owner   bool
	home    string
	changed chan struct{}
}

func newProcess(owner bool) *process {
	return &process{owner: owner, changed: make(chan struct{})}
}

func (p *process) become(owner bool, home string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owner, p.home = owner, home
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *process) Owner() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.owner
}

func (p *process) Home() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.home
}

func (p *process) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, text, " ", r.URL.Path, " ", r.Host, " ", string(body))
	})
}

// serve serves a pod on an address of its own and the port that is given, or any.
func serve(t *testing.T, address string, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("this machine does not have the address: %v", err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().String()
}

func request(t *testing.T, address string) (int, string, http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/count", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "service"
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestOwnerServes(t *testing.T) {
	address := serve(t, "127.0.0.1:0", ownerhttp.Handler(newProcess(true), says("source")))
	if code, body, _ := request(t, address); code != 200 || body != "source /count service body" {
		t.Errorf("%d %q", code, body)
	}
}

// TestWaits: a request that reaches a frozen source, or a copy that is not yet
// live, is answered when there is an owner.
func TestWaits(t *testing.T) {
	p := newProcess(false)
	waiting := make(chan struct{})
	h := ownerhttp.Handler(p, says("here"))
	address := serve(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(waiting)
		h.ServeHTTP(w, r)
	}))
	go func() {
		<-waiting
		p.become(false, "") // something else has changed
		p.become(true, "")
	}()
	if code, body, _ := request(t, address); code != 200 || !strings.HasPrefix(body, "here") {
		t.Errorf("%d %q", code, body)
	}
}

func TestGivesUp(t *testing.T) {
	address := serve(t, "127.0.0.1:0", ownerhttp.Handler(newProcess(false), says("here"), ownerhttp.Patience(20*time.Millisecond)))
	code, _, header := request(t, address)
	if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %v", code, header)
	}
}

// TestCallerGoes: nobody waits for a caller who has gone.
func TestCallerGoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	ownerhttp.Handler(newProcess(false), says("here"), ownerhttp.Patience(time.Hour)).
		ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", w.Code)
	}
}

// TestPassesOn: the request arrives at the same port of the successor, which
// makes it wait until it is live.
func TestPassesOn(t *testing.T) {
	source, target := newProcess(false), newProcess(false)
	address := serve(t, "127.0.0.1:0", ownerhttp.Handler(source, says("source")))
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	h := ownerhttp.Handler(target, says("target"))
	serve(t, "127.0.0.2:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go target.become(true, "")
		h.ServeHTTP(w, r)
	}))
	source.become(false, "127.0.0.2")
	if code, body, _ := request(t, address); code != 200 || body != "target /count service body" {
		t.Errorf("%d %q", code, body)
	}
}

func TestSuccessorDoesNotAnswer(t *testing.T) {
	source := newProcess(false)
	source.become(false, "127.0.0.3")
	address := serve(t, "127.0.0.1:0", ownerhttp.Handler(source, says("source")))
	if code, body, header := request(t, address); code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %q", code, body)
	}
}

// TestCircle: two that know each other as successor end a request.
func TestCircle(t *testing.T) {
	var visits atomic.Int64
	source, target := newProcess(false), newProcess(false)
	count := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			visits.Add(1)
			h.ServeHTTP(w, r)
		})
	}
	address := serve(t, "127.0.0.1:0", count(ownerhttp.Handler(source, says("source"))))
	_, port, _ := net.SplitHostPort(address)
	serve(t, "127.0.0.2:"+port, count(ownerhttp.Handler(target, says("target"))))
	source.become(false, "127.0.0.2")
	target.become(false, "127.0.0.1")
	if code, body, _ := request(t, address); code != http.StatusServiceUnavailable || visits.Load() != 4 {
		t.Errorf("%d %q after %d visits", code, body, visits.Load())
	}
}

// TestReadsGoForward moves a counter from pod to pod while clients read it at
// both: none ever reads less than it, or anybody before it, has read.
func TestReadsGoForward(t *testing.T) {
	var state atomic.Int64 // that of the owner
	pods := []*process{newProcess(true), newProcess(false)}
	memory := []*atomic.Int64{{}, {}}
	var addresses []string
	for i := range pods {
		at := fmt.Sprintf("127.0.0.%d:0", i+1)
		if i > 0 {
			_, port, _ := net.SplitHostPort(addresses[0])
			at = "127.0.0.2:" + port
		}
		addresses = append(addresses, serve(t, at, ownerhttp.Handler(pods[i], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, memory[i].Load())
		}))))
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				least := state.Load()
				code, body, _ := request(t, addresses[(i+n)%2])
				got, err := strconv.ParseInt(body, 10, 64)
				if code != 200 || err != nil || got < least {
					t.Errorf("%d %q after %d was read", code, body, least)
					return
				}
			}
		})
	}
	home := 0
	for n := range int64(2000) {
		if n%100 == 99 {
			next := 1 - home
			pods[home].become(false, "")
			memory[next].Store(memory[home].Load())
			pods[next].become(true, "")
			pods[home].become(false, fmt.Sprintf("127.0.0.%d", next+1))
			home = next
		}
		memory[home].Add(1)
		state.Store(memory[home].Load())
	}
	close(done)
	readers.Wait()
}
