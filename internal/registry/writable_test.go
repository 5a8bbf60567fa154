package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/registry"
)

// asked are the requests that a registry got.
type asked struct {
	mu   sync.Mutex
	what []string
}

func (a *asked) by(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.what = append(a.what, r.Method+" "+r.URL.Path)
		a.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

func TestWritable(t *testing.T) {
	var a asked
	repo := serve(t, a.by(handler())) + "/ms2m/checkpoints"
	if err := registry.New(registry.WithPlainHTTP()).Writable(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	last := len(a.what) - 1
	begun, ended := "POST /v2/ms2m/checkpoints/blobs/uploads/", "DELETE /v2/ms2m/checkpoints/blobs/uploads/"
	if !slices.Contains(a.what, begun) || !strings.HasPrefix(a.what[last], ended) || a.what[last] == ended {
		t.Errorf("asked %q; want an upload begun and cancelled", a.what)
	}
}

// TestWritableCancels: where the registry says that the upload is, and with the
// credentials that began it.
func TestWritableCancels(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	var a asked
	host := serve(t, a.by(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "robot" || password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", "/v2/elsewhere?state=x")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodDelete: // it does not let pushers do that
			w.WriteHeader(http.StatusForbidden)
		}
	})))
	config := fmt.Sprintf(`{"auths":{%q:{"username":"robot","password":"hunter2"}}}`, host)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := registry.New(registry.WithPlainHTTP()).Writable(t.Context(), host+"/ckpt"); err != nil {
		t.Error(err)
	}
	if got := a.what[len(a.what)-1]; got != "DELETE /v2/elsewhere" {
		t.Errorf("asked %q", a.what)
	}
}

func TestNotWritable(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		body    string
		reason  string
		passing bool
	}{
		"unauthorized":  {401, `{"errors":[{"code":"UNAUTHORIZED"}]}`, v1alpha1.TransferReasonUnauthorized, true},
		"denied":        {403, `{"errors":[{"code":"DENIED"}]}`, v1alpha1.TransferReasonUnauthorized, true},
		"no repository": {404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, v1alpha1.TransferReasonNotFound, false},
		"read only":     {405, `{"errors":[{"code":"UNSUPPORTED"}]}`, v1alpha1.TransferReasonFailed, false},
		"full":          {507, "", v1alpha1.TransferReasonNoSpace, true},
		"unavailable":   {503, "", v1alpha1.TransferReasonRetrying, true},
	} {
		t.Run(name, func(t *testing.T) {
			var a asked
			repo := serve(t, a.by(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					return
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))) + "/ckpt"
			err := registry.New(registry.WithPlainHTTP()).Writable(t.Context(), repo)
			if f := fault.Of(err); f == nil || f.Reason != tc.reason || f.Passing != tc.passing {
				t.Errorf("%v; want %s, passing %v", err, tc.reason, tc.passing)
			}
			if slices.ContainsFunc(a.what, func(s string) bool { return strings.HasPrefix(s, http.MethodDelete) }) {
				t.Errorf("nothing was begun, and yet asked %q", a.what)
			}
		})
	}
}

func TestWritableUnreachable(t *testing.T) {
	server := httptest.NewServer(handler())
	repo := strings.TrimPrefix(server.URL, "http://") + "/ckpt"
	server.Close()
	for name, c := range map[string]*registry.Client{"TLS": registry.New(), "plain": registry.New(registry.WithPlainHTTP())} {
		err := c.Writable(t.Context(), repo)
		if f := fault.Of(err); f == nil || !f.Passing || f.Reason != v1alpha1.TransferReasonRetrying {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := registry.New().Writable(t.Context(), "not a repository"); reason(err) != v1alpha1.TransferReasonFailed {
		t.Error(err)
	}
	if err := registry.New().Writable(t.Context(), serve(t, handler())+"/ckpt"); reason(err) != v1alpha1.TransferReasonFailed {
		t.Errorf("without TLS: %v", err)
	}
}
