package host

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// TestServe: it answers where LISTEN says, and not after stop.
func TestServe(t *testing.T) {
	address := listenSomewhere(t)
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

// TestStop is held up neither by a request that waits for what comes only afterwards, and is
// told so, nor by a connection on which nobody has asked anything.
func TestStop(t *testing.T) {
	address := listenSomewhere(t)
	waits := make(chan struct{})
	stop, err := Serve(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(waits)
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	if err != nil {
		t.Fatal(err)
	}
	mute, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	told := make(chan int, 1)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			told <- 0
			return
		}
		_ = resp.Body.Close()
		told <- resp.StatusCode
	}()
	<-waits
	var ended sync.WaitGroup
	ended.Go(stop)
	if code := <-told; code != http.StatusServiceUnavailable {
		t.Errorf("the request that waits is answered %d", code)
	}
	ended.Wait()
	if _, err := mute.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the mute connection: %v", err)
	}
}

// listenSomewhere has Serve listen at a free address.
func listenSomewhere(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("LISTEN", l.Addr().String())
	return l.Addr().String()
}
