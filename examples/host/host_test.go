package host

import (
	"io"
	"net"
	"net/http"
	"testing"
)

// TestServe: it answers where LISTEN says, and not after stop.
func TestServe(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	t.Setenv("LISTEN", address)
	stop, err := Serve(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { Answer(w, []int{1}) }))
	if err != nil {
		t.Fatal(err)
	}
	get := func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		return http.DefaultClient.Do(req)
	}
	resp, err := get()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "[1]\n" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%q, %v", body, err)
	}
	if _, err := Serve(t.Context(), http.NotFoundHandler()); err == nil {
		t.Error("the address is taken: no error")
	}
	stop()
	if resp, err := get(); err == nil {
		_ = resp.Body.Close()
		t.Error("it answers after stop")
	}
}
