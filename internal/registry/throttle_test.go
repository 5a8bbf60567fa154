package registry_test

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"ms2m.dev/ms2m/internal/registry"
)

// TestThrottle measures transfers. What is limited cannot be faster, however busy the
// machine is; what is not is compared with it, which is ten times as long.
func TestThrottle(t *testing.T) {
	t.Parallel()
	const size, rate = 4 * 128 << 10, 512 << 10 // four layers at once share the second that it takes
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	client := registry.New(registry.WithPlainHTTP())
	host := strings.TrimPrefix(server.URL, "http://")
	transfer := func(ctx context.Context, repository string) (push, pull time.Duration) {
		img, err := random.Image(size/4, 4)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ref, err := client.Push(ctx, host+"/"+repository, "tag", img)
		if err != nil {
			t.Fatal(err)
		}
		push = time.Since(start)
		start = time.Now()
		pulled, err := client.Pull(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := pulled.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			r, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
		return push, time.Since(start)
	}
	push, pull := transfer(t.Context(), "free")
	slowPush, slowPull := transfer(registry.Throttle(t.Context(), rate), "slow")
	const least = time.Second * size / rate * 8 / 10 // a tenth is let through at once
	if slowPush < least || slowPull < least {
		t.Errorf("%d bytes at %d/s: pushed in %v, pulled in %v, at least %v is what it takes", size, rate, slowPush, slowPull, least)
	}
	if push >= slowPush || pull >= slowPull {
		t.Errorf("without a limit %v and %v, with one %v and %v", push, pull, slowPush, slowPull)
	}
	if _, err := client.Pull(registry.Throttle(t.Context(), 0), host+"/none@sha256:"+strings.Repeat("0", 64)); err == nil || strings.Contains(err.Error(), "rate") {
		t.Errorf("no limit is none: %v", err)
	}
}

// TestThrottleCancelled: a transfer that waits for its share ends with its context.
func TestThrottleCancelled(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	img, err := random.Image(1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(registry.Throttle(t.Context(), 1<<10)) // a quarter of an hour
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	_, err = registry.New(registry.WithPlainHTTP()).Push(ctx, strings.TrimPrefix(server.URL, "http://")+"/a", "tag", img)
	if err == nil || time.Since(start) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}
