// Package ownerhttp lets a service that is moved answer HTTP requests from the
// state's present home: whichever of its pods a request reaches, it is answered
// from the state as it is now, or not at all.
package ownerhttp

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"
)

// Process is what the handler asks; an *sdk.Consumer is one.
type Process interface {
	// Owner reports whether what this process holds in memory is the present truth.
	Owner() bool
	// Home is the address of the pod that has it, if it is another and known.
	Home() string
	// Changed is closed when one of the two has changed.
	Changed() <-chan struct{}
}

// Option changes a Handler.
type Option func(*handler)

// Patience is how long a request waits at most for an owner. Default 5 s.
func Patience(d time.Duration) Option { return func(h *handler) { h.patience = d } }

const (
	defaultPatience = 5 * time.Second
	dialTimeout     = 2 * time.Second
	// answerTimeout bounds the wait for a pod that has taken the request
	// on: it may wait for ownership itself, and for the service's own work.
	answerTimeout = 30 * time.Second

	// passedOn counts how often a request was passed on.
	passedOn = "Ms2m-Passed-On"
	// maxPasses ends a request that goes in a circle (an address that was given
	// to another pod). From a copy to its source and back, when that has retired
	// meanwhile, are two; more in a row would be migrations within the time that a source outlives
	// its COMMIT.
	maxPasses = 3
)

type handler struct {
	process  Process
	next     http.Handler
	patience time.Duration
	// transport goes straight to the other pod, never through a proxy of the environment.
	transport http.RoundTripper
}

// Handler answers requests with next while the process owns the service's
// state. While another pod does (the source, for a copy that is not live yet; the copy,
// for a source that has retired), the request is passed on to that pod, to the port that
// it came in on, in plain HTTP. In a source that is frozen it waits until one
// of the two comes about; if neither does in time it is answered 503, to be tried again.
//
// What is promised, for requests that read what only the library changes: the
// answer is of the state as it was at some moment between the request and its
// answer, whichever pod it reached; so who has read something never reads
// something older afterwards. For this it is enough to look before next runs. If
// the source is frozen while next runs, its memory stands still at the state
// that it hands over, which was the present one after the request had come. Not
// covered is a source that is cut off from the broker and was taken over as
// dead: it takes itself for the owner until it is back.
func Handler(p Process, next http.Handler, options ...Option) http.Handler {
	h := &handler{process: p, next: next, patience: defaultPatience, transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		ResponseHeaderTimeout: answerTimeout,
		IdleConnTimeout:       answerTimeout,
	}}
	for _, o := range options {
		o(h)
	}
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch owner, home := h.wait(r.Context()); {
	case owner:
		h.next.ServeHTTP(w, r)
	case home != "":
		h.pass(w, r, home)
	default:
		unavailable(w, "this process does not own the service's state")
	}
}

// wait waits until this process is the owner, or knows who is.
func (h *handler) wait(ctx context.Context) (owner bool, home string) {
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	for {
		changed := h.process.Changed()
		if h.process.Owner() {
			return true, ""
		}
		if s := h.process.Home(); s != "" {
			return false, s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, ""
		}
	}
}

// pass passes the request on.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, home string) {
	passes, _ := strconv.Atoi(r.Header.Get(passedOn))
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil || passes >= maxPasses {
		unavailable(w, "the request cannot be passed on to the state's home")
		return
	}
	_, port, err := net.SplitHostPort(local.String())
	if err != nil {
		unavailable(w, "the request came in on no port that could be passed on to")
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport: h.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: net.JoinHostPort(home, port)})
			p.SetXForwarded()
			p.Out.Host = p.In.Host
			p.Out.Header.Set(passedOn, strconv.Itoa(passes+1))
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			unavailable(w, "the state's home does not answer: "+err.Error())
		},
	}
	proxy.ServeHTTP(w, r)
}

func unavailable(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, why, http.StatusServiceUnavailable)
}
