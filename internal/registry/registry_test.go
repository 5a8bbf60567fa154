package registry_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/registry"
)

func TestRoundTrip(t *testing.T) {
	repo := serve(t, handler()) + "/ms2m/checkpoints"
	c := registry.New(registry.WithPlainHTTP())
	img := image(t)
	ref, err := c.Push(t.Context(), repo, "m-1", img)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := img.Digest()
	if want := repo + "@" + digest.String(); ref != want {
		t.Errorf("reference is %s, want %s", ref, want)
	}
	if again, err := c.Push(t.Context(), repo, "m-1", img); err != nil || again != ref {
		t.Errorf("pushed again: %s, %v", again, err)
	}
	if ok, err := c.Exists(t.Context(), ref); err != nil || !ok {
		t.Errorf("Exists = %v, %v", ok, err)
	}
	got, err := c.Pull(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := got.Digest(); d != digest {
		t.Errorf("pulled %s, want %s", d, digest)
	}
	for range 2 {
		if err := c.Delete(t.Context(), ref); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	if ok, err := c.Exists(t.Context(), ref); err != nil || ok {
		t.Errorf("after Delete Exists = %v, %v", ok, err)
	}
	if _, err := c.Pull(t.Context(), ref); reason(err) != v1alpha1.TransferReasonNotFound {
		t.Errorf("after Delete Pull: %v", err)
	}
}

func TestReasons(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		body    string
		reason  string
		passing bool
	}{
		"unauthorized":   {401, `{"errors":[{"code":"UNAUTHORIZED"}]}`, v1alpha1.TransferReasonUnauthorized, true},
		"denied":         {403, `{"errors":[{"code":"DENIED"}]}`, v1alpha1.TransferReasonUnauthorized, true},
		"no repository":  {404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, v1alpha1.TransferReasonNotFound, false},
		"not allowed":    {405, `{"errors":[{"code":"UNSUPPORTED"}]}`, v1alpha1.TransferReasonFailed, false},
		"full":           {507, "", v1alpha1.TransferReasonNoSpace, true},
		"full, reported": {500, `{"errors":[{"code":"UNKNOWN","detail":{"Err":28,"m":"write: no space left on device"}}]}`, v1alpha1.TransferReasonNoSpace, true},
		"full, a number": {500, `{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"mkdir","Path":"/var/lib/docker-registry/x","Err":28}}}]}`, v1alpha1.TransferReasonNoSpace, true},
		"another number": {500, `{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"mkdir","Path":"/var/lib/docker-registry/x","Err":5}}}]}`, v1alpha1.TransferReasonRetrying, true},
		"too many":       {429, "", v1alpha1.TransferReasonRetrying, true},
		"broken":         {500, "", v1alpha1.TransferReasonRetrying, true},
		"unavailable":    {503, "", v1alpha1.TransferReasonRetrying, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the library waits some seconds before it gives up on a 5xx
			repo := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					return
				}
				if r.Method == http.MethodHead {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})) + "/ckpt"
			_, err := registry.New(registry.WithPlainHTTP()).Push(t.Context(), repo, "m-1", image(t))
			if f := fault.Of(err); f == nil || f.Reason != tc.reason || f.Passing != tc.passing {
				t.Errorf("Push: %v; want %s, passing %v", err, tc.reason, tc.passing)
			}
		})
	}
}

func TestUnreachableRegistryPasses(t *testing.T) {
	server := httptest.NewServer(handler())
	repo := strings.TrimPrefix(server.URL, "http://") + "/ckpt"
	server.Close()
	for name, c := range map[string]*registry.Client{
		"TLS": registry.New(), "plain": registry.New(registry.WithPlainHTTP()),
	} {
		_, err := c.Push(t.Context(), repo, "m-1", image(t))
		if f := fault.Of(err); f == nil || !f.Passing || f.Reason != v1alpha1.TransferReasonRetrying {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesAreChecked(t *testing.T) {
	c := registry.New()
	if _, err := c.Push(t.Context(), "not a repository", "m-1", image(t)); reason(err) != v1alpha1.TransferReasonFailed {
		t.Errorf("Push: %v", err)
	}
	const wayOut = "registry.example.com/ms2m/../../admin"
	if _, err := c.Push(t.Context(), wayOut, "m-1", image(t)); reason(err) != v1alpha1.TransferReasonFailed {
		t.Errorf("Push to a way out: %v", err)
	}
	if err := c.Writable(t.Context(), wayOut); reason(err) != v1alpha1.TransferReasonFailed {
		t.Errorf("Writable of a way out: %v", err)
	}
	if err := c.Delete(t.Context(), wayOut+"@sha256:"+strings.Repeat("0", 64)); reason(err) != v1alpha1.TransferReasonFailed {
		t.Errorf("Delete of a way out: %v", err)
	}
	if _, err := c.Pull(t.Context(), "registry.example.com/ckpt:tag"); reason(err) != v1alpha1.TransferReasonFailed {
		t.Errorf("Pull by tag: %v", err)
	}
}

// A registry at a private address must not talk a client out of TLS.
func TestPlainHTTPIsRefused(t *testing.T) {
	asked := false
	repo := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = true
		handler().ServeHTTP(w, r)
	})) + "/ckpt"
	if _, err := registry.New().Push(t.Context(), repo, "m-1", image(t)); reason(err) != v1alpha1.TransferReasonFailed {
		t.Errorf("Push: %v", err)
	}
	if asked {
		t.Error("the registry was talked to without TLS")
	}
}

func TestUnknownAuthorityIsRefused(t *testing.T) {
	server := httptest.NewTLSServer(handler())
	t.Cleanup(server.Close)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	repo := strings.TrimPrefix(server.URL, "https://") + "/ckpt"
	_, err := registry.New().Push(t.Context(), repo, "m-1", image(t))
	if f := fault.Of(err); f == nil || f.Reason != v1alpha1.TransferReasonFailed || f.Passing {
		t.Errorf("Push: %v", err)
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	var repo string
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, ok := r.BasicAuth(); r.URL.Path == "/v2/" && !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		} else if user != "robot" {
			t.Errorf("user is %q", user)
		}
		w.Header().Set("Location", "http://"+r.Host+"/v2/upload?signature=hunter2")
		w.WriteHeader(map[string]int{"POST": 202, "HEAD": 404}[r.Method] | map[string]int{"PATCH": 403}[r.Method])
	}))
	repo = host + "/ckpt"
	config := fmt.Sprintf(`{"auths":{%q:{"username":"robot","password":"hunter2"}}}`, host)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := registry.New(registry.WithPlainHTTP()).Push(t.Context(), repo, "m-1", image(t))
	if reason(err) != v1alpha1.TransferReasonUnauthorized {
		t.Errorf("Push: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells a secret: %v", err)
	}
}

func handler() http.Handler { return ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))) }

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1_000, 1)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func reason(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return ""
	}
	return f.Reason
}
