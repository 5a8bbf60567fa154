package registry

import (
	"context"
	"io"
	"net/http"

	"golang.org/x/time/rate"
)

// throttleKey is where a context holds its limiter.
type throttleKey struct{}

// Throttle bounds what calls with the context send and take, together, in bytes per
// second; 0 is no limit. It goes by the context because that is what reaches every
// request: also those by which an image that was pulled is read later on.
func Throttle(ctx context.Context, bytesPerSecond int64) context.Context {
	if bytesPerSecond <= 0 {
		return ctx
	}
	// A tenth of a second's worth: short enough for the network not to notice.
	burst := max(int(bytesPerSecond/10), 1)
	return context.WithValue(ctx, throttleKey{}, rate.NewLimiter(rate.Limit(bytesPerSecond), burst))
}

// throttled keeps the bodies of requests and answers to the limit of their context.
type throttled struct{ next http.RoundTripper }

func (t throttled) RoundTrip(r *http.Request) (*http.Response, error) {
	limiter, ok := r.Context().Value(throttleKey{}).(*rate.Limiter)
	if !ok {
		return t.next.RoundTrip(r)
	}
	slow := func(body io.ReadCloser) io.ReadCloser { return &throttledBody{body, r.Context(), limiter} }
	if r.Body != nil && r.Body != http.NoBody {
		again := r.GetBody
		r = r.Clone(r.Context())
		r.Body = slow(r.Body)
		if again != nil {
			r.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				if err != nil {
					return nil, err
				}
				return slow(body), nil
			}
		}
	}
	resp, err := t.next.RoundTrip(r)
	if err == nil && resp.Body != nil {
		resp.Body = slow(resp.Body)
	}
	return resp, err
}

// throttledBody is read no faster than its limiter lets it.
type throttledBody struct {
	io.ReadCloser
	ctx     context.Context
	limiter *rate.Limiter
}

func (b *throttledBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.limiter.Burst())])
	if wait := b.limiter.WaitN(b.ctx, n); wait != nil {
		return n, wait
	}
	return n, err
}
