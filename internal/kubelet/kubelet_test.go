package kubelet_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"ms2m.dev/ms2m/internal/kubelet"
)

// longAgo makes clients whose last checkpoint is no matter any more.
func longAgo() *testclock.FakeClock {
	return testclock.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
}

// proxied is a client of a server that answers as f says.
func proxied(t *testing.T, c clock.WithTicker, f http.HandlerFunc) *kubelet.Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	k, err := kubelet.ThroughProxy(&rest.Config{Host: server.URL}, c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func checkpoint(k *kubelet.Client) (string, error) {
	return k.Checkpoint(context.Background(), "node-a", "ns", "counter-0", "main")
}

func TestThroughProxy(t *testing.T) {
	c := longAgo()
	var got *http.Request
	k := proxied(t, c, func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, `{"items":["/var/lib/kubelet/checkpoints/checkpoint-counter-0_ns-main-2026.tar"]}`)
	})
	c.Step(time.Minute)
	archive, err := checkpoint(k)
	if err != nil || archive != "checkpoint-counter-0_ns-main-2026.tar" {
		t.Fatalf("%q, %v", archive, err)
	}
	if want := "/api/v1/nodes/node-a/proxy/checkpoint/ns/counter-0/main"; got.Method != http.MethodPost || got.URL.Path != want {
		t.Errorf("%s %s", got.Method, got.URL)
	}
}

// TestUnknownAuthorityIsRefused: a kubelet that shows another authority's certificate
// gets no token, and a configuration that does not check is not made by anything here.
func TestUnknownAuthorityIsRefused(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a stranger got %v", r.Header)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer server.Close()
	c := longAgo()
	k, err := kubelet.ThroughProxy(&rest.Config{Host: server.URL, BearerToken: "token"}, c)
	if err != nil {
		t.Fatal(err)
	}
	c.Step(time.Minute)
	if _, err := checkpoint(k); err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "token") {
		t.Errorf("%v, want that the certificate is refused", err)
	}
}

func TestDirect(t *testing.T) {
	c := longAgo()
	var got *http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, `{"items":["/x/a.tar"]}`)
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseInt(u.Port(), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	nodes := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-a"},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: u.Hostname()}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
		},
	}).Build()
	cfg := &rest.Config{Host: "https://apiserver", BearerToken: "token", TLSClientConfig: rest.TLSClientConfig{CAData: authority(server)}}
	k, err := kubelet.Direct(cfg, nodes, "", c)
	if err != nil {
		t.Fatal(err)
	}
	c.Step(time.Minute)
	if archive, err := checkpoint(k); err != nil || archive != "a.tar" {
		t.Fatalf("%q, %v", archive, err)
	}
	if got.URL.Path != "/checkpoint/ns/counter-0/main" || got.Header.Get("Authorization") != "Bearer token" {
		t.Errorf("%s with %q", got.URL, got.Header.Get("Authorization"))
	}
	c.Step(time.Minute)
	if _, err := k.Checkpoint(t.Context(), "node-z", "ns", "p", "c"); !temporary(err) {
		t.Errorf("a node that is not known: %v", err)
	}
}

func temporary(err error) bool {
	var e *kubelet.Error
	return errors.As(err, &e) && e.Temporary
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		code      int
		body      string
		temporary bool
		message   string
	}{
		"CRIU's reason":     {500, "checkpointing of ns/counter-0/main failed (criu: type NOTIFY errno 0)", true, "type NOTIFY"},
		"not found":         {404, "container main not found in pod counter-0", false, "404"},
		"kubelet is new":    {404, "pod does not exist", true, "404"},
		"no such path":      {404, "404 page not found", false, "404"},
		"forbidden":         {403, `{"kind":"Status","message":"nodes \"node-a\" is forbidden"}`, false, `nodes "node-a" is forbidden`},
		"node not reached":  {503, `{"kind":"Status","message":"error trying to reach service"}`, true, "reach service"},
		"no such runtime":   {500, "rpc error: code = Unimplemented desc = unknown method CheckpointContainer", false, "Unimplemented"},
		"too many requests": {429, "slow down", true, "429"},
		"no archive":        {200, `{"items":[]}`, true, "unexpected answer"},
		"nonsense":          {200, `<html>`, true, "unexpected answer"},
	} {
		t.Run(name, func(t *testing.T) {
			c := longAgo()
			k := proxied(t, c, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.code)
				fmt.Fprint(w, test.body)
			})
			c.Step(time.Minute)
			_, err := checkpoint(k)
			if err == nil || !strings.Contains(err.Error(), test.message) || temporary(err) != test.temporary {
				t.Errorf("%v, temporary %v", err, temporary(err))
			}
		})
	}
}

func TestLongReasonIsClipped(t *testing.T) {
	c := longAgo()
	k := proxied(t, c, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, strings.Repeat("x", 1<<20))
	})
	c.Step(time.Minute)
	if _, err := checkpoint(k); len(err.Error()) > 2000 {
		t.Errorf("%d characters", len(err.Error()))
	}
}

// TestSpacedOut: no second checkpoint of a container within a second, and none
// within a second of the start, since the manager before may have taken one.
func TestSpacedOut(t *testing.T) {
	c := longAgo()
	calls := make(chan struct{}, 10)
	k := proxied(t, c, func(w http.ResponseWriter, _ *http.Request) {
		calls <- struct{}{}
		fmt.Fprint(w, `{"items":["a.tar"]}`)
	})
	done := make(chan error)
	for range 2 {
		go func() { _, err := checkpoint(k); done <- err }()
		for !c.HasWaiters() {
			time.Sleep(time.Millisecond)
		}
		c.Step(999 * time.Millisecond)
		select {
		case <-calls:
			t.Error("too early")
		case <-time.After(20 * time.Millisecond):
		}
		c.Step(time.Millisecond)
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-calls
	}
	if _, err := k.Checkpoint(t.Context(), "node-a", "ns", "other", "main"); err != nil { // another one need not wait
		t.Error(err)
	}
}

func TestTimeout(t *testing.T) {
	query := make(chan string, 1)
	release := make(chan struct{})
	k := proxied(t, clock.RealClock{}, func(_ http.ResponseWriter, r *http.Request) {
		query <- r.URL.RawQuery
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
	defer cancel()
	_, err := k.Checkpoint(ctx, "node-a", "ns", "counter-0", "main")
	if !temporary(err) {
		t.Errorf("%v", err)
	}
	if got := <-query; got != "timeout=1" {
		t.Errorf("the kubelet was given %q", got)
	}
}

// authority is the authority of a test server.
func authority(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
