package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
)

// TestProfiles: they are served where the flag says, and nowhere without it.
func TestProfiles(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	o := options{metrics: "0", probes: "0", pprof: address}
	mgr, err := ctrl.NewManager(&rest.Config{Host: "127.0.0.1:1"}, o.manager(runtime.NewScheme()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = mgr.Start(ctx) // it is stopped in the middle of looking for the API server
	}()
	defer func() {
		stop()
		<-done
	}()
	for tick, end := time.NewTicker(10*time.Millisecond), time.After(10*time.Second); ; {
		response, err := http.Get("http://" + address + "/debug/pprof/goroutine?debug=1")
		if err == nil {
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || !strings.Contains(string(body), "goroutine profile:") {
				t.Errorf("%s: %s, %v", response.Status, body, err)
			}
			break
		}
		select {
		case <-end:
			t.Fatal(err)
		case <-tick.C:
		}
	}
	if (options{}).manager(nil).PprofBindAddress != "" {
		t.Error("profiles are served without the flag")
	}
}
