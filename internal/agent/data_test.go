package agent

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/staging"
)

// noise and words are memory that travels as it is, and packed.
func noise() []byte {
	b := make([]byte, 3<<20)
	_, _ = rand.Read(b)
	return b
}

func words() []byte {
	b := noise()
	for i := range b {
		if i%8 > 1 {
			b[i] = 0
		}
	}
	return b
}

// largeArchive is an archive with that memory, as the source's kubelet leaves it.
func (w *world) largeArchive(pages []byte) {
	w.t.Helper()
	entries := checkpointtest.Entries(w.t, "shop", "cart-0", "uid-1", "cart")
	for i := range entries {
		if entries[i].Name == "checkpoint/pages-1.img" {
			entries[i].Body = pages
		}
	}
	w.archive(archiveName, checkpointtest.Tar(w.t, entries...))
}

// before puts a server before the registry; intercept may answer in its place.
func (w *world) before(intercept func(http.ResponseWriter, *http.Request, http.Handler)) string {
	w.t.Helper()
	host, path, _ := strings.Cut(w.repo, "/")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { intercept(rw, r, proxy) }))
	w.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/" + path
}

// A push that breaks off amid the bytes is made again, and comes to what an unbroken
// one comes to.
func TestPushIsBrokenOff(t *testing.T) {
	for name, pages := range map[string][]byte{"noise": noise(), "words": words()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the library waits a second before it tries again
			w := newWorld(t)
			broken := 0
			repo := w.before(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPatch && broken == 0 {
					broken++
					_, _ = io.CopyN(io.Discard, r.Body, 20_000)
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(rw, r)
			})
			w.largeArchive(pages)
			again, verdict := w.do("push", pushSpec(repo))
			if verdict.Status != metav1.ConditionTrue || broken != 1 {
				t.Fatalf("broken %d times, it ended with %+v", broken, verdict)
			}
			w.largeArchive(pages)
			unbroken, _ := w.do("push-2", pushSpec(w.repo))
			if got, want := again.Status.Image.Digest, unbroken.Status.Image.Digest; got != want {
				t.Errorf("the digest is %s, not %s", got, want)
			}
			if _, verdict := w.do("stage", stageSpec(again.Status.Image.Reference)); verdict.Status != metav1.ConditionTrue {
				t.Fatalf("what was pushed can't be staged: %+v", verdict)
			}
			slot := staging.Slot{PodUID: "uid-2", Container: "cart"}
			dir, err := w.agent.Area.Take(slot, "c1")
			if err != nil {
				t.Fatal(err)
			}
			from, err := staging.Verify(t.Context(), dir, staging.Want{
				MigrationUID: "m-1", Namespace: "shop", PodName: "cart-0-copy", Slot: slot,
			})
			if err != nil || from != again.Status.Image.Reference {
				t.Errorf("the shim would refuse it, or restore %q: %v", from, err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "checkpoint", "pages-1.img")); err != nil || !bytes.Equal(got, pages) {
				t.Errorf("memory did not survive: %d bytes, %v", len(got), err)
			}
		})
	}
}

// What comes is what was named, or nothing is staged: neither a bit that has changed on
// the way nor an end that is missing is let through.
func TestBlobIsChangedOnTheWay(t *testing.T) {
	changes := map[string]func([]byte) []byte{
		"changed": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut off": func(b []byte) []byte { return b[:len(b)-10_000] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
	}
	for memory, pages := range map[string][]byte{"noise": noise(), "words": words()} {
		for how, change := range changes {
			t.Run(memory+", "+how, func(t *testing.T) {
				w := newWorld(t)
				w.largeArchive(pages)
				push, _ := w.do("push", pushSpec(w.repo))
				repo := w.before(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, r)
					body := answer.Body.Bytes()
					if strings.Contains(r.URL.Path, "/blobs/") && len(body) > 10_000 {
						body = change(body)
						answer.Header().Set("Content-Length", strconv.Itoa(len(body)))
					}
					for key, values := range answer.Header() {
						rw.Header()[key] = values
					}
					rw.WriteHeader(answer.Code)
					_, _ = rw.Write(body)
				})
				w.create("stage", stageSpec(repo+"@"+push.Status.Image.Digest))
				err := w.reconcile("stage")
				if _, verdict := w.get("stage"); verdict.Status == metav1.ConditionTrue {
					t.Errorf("it was staged: %+v, %v", verdict, err)
				}
				if left, _ := filepath.Glob(filepath.Join(w.root, "restore", "uid-2", "*")); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// A registry that has no room says so amid the bytes that it is sent. What it says is
// heard, though nobody reads the rest.
func TestFullAmidTheBytes(t *testing.T) {
	for name, pages := range map[string][]byte{"noise": noise(), "words": words()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			repo := w.before(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method != http.MethodPatch {
					next.ServeHTTP(rw, r)
					return
				}
				_, _ = io.CopyN(io.Discard, r.Body, 20_000)
				rw.WriteHeader(http.StatusInsufficientStorage)
			})
			w.largeArchive(pages)
			w.create("push", pushSpec(repo))
			if err := w.reconcile("push"); err == nil {
				t.Error("it is not tried again")
			}
			if _, verdict := w.get("push"); verdict.Reason != v1alpha1.TransferReasonNoSpace {
				t.Errorf("it ended with %+v", verdict)
			}
		})
	}
}
