package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/registry"
	"ms2m.dev/ms2m/internal/staging"
)

const benchmarked = 256 << 20

// BenchmarkDataPath takes a large checkpoint the way from the kubelet's archive to
// CRIU's doorstep, step by step, and reports each step in units of a plain copy of
// the same bytes on the same disk, which is done in the same round: the machine's
// mood is in both. The registry speaks TLS and is as thorough as the real ones: it
// hashes what comes and writes it to the disk.
func BenchmarkDataPath(b *testing.B) {
	images := diskRegistry(b)
	for _, memory := range []struct {
		name string
		fill func([]byte)
	}{
		{"noise", func(p []byte) { _, _ = rand.Read(p) }},
		{"compressible", likeMemory},
	} {
		b.Run(memory.name, func(b *testing.B) {
			pages := make([]byte, benchmarked)
			memory.fill(pages)
			benchmarkDataPath(b, images, pages)
		})
	}
}

func benchmarkDataPath(b *testing.B, images *blobs, pages []byte) {
	dir := b.TempDir()
	area := staging.At(filepath.Join(dir, "area"))
	if err := area.Prepare(); err != nil {
		b.Fatal(err)
	}
	r := &Reconciler{Registry: registry.New(), Observer: nobody{}, Node: "node-a", Archives: dir, Area: area}
	entries := checkpointtest.Entries(b, "shop", "cart-0", "uid-1", "cart")
	for i := range entries {
		if entries[i].Name == "checkpoint/pages-1.img" {
			entries[i].Body = pages
		}
	}
	path := filepath.Join(dir, archiveName)
	if err := os.WriteFile(path, checkpointtest.Tar(b, entries...), 0o600); err != nil {
		b.Fatal(err)
	}
	steps, work := map[string][]time.Duration{}, map[string][]time.Duration{}
	step := func(name string, do func() error) {
		begin, worked := time.Now(), processorTime(b)
		if err := do(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		steps[name] = append(steps[name], time.Since(begin))
		work[name] = append(work[name], processorTime(b)-worked)
	}
	for b.Loop() {
		step("copy", func() error { return copyFile(filepath.Join(dir, "copy"), path) })
		step("sha256", func() error { return hashFile(path) })
		step("inspect", func() error { return inspectFile(path) })
		step("pack", func() error { return packFile(path) })
		images.clear() // what is there is not pushed again
		push := &v1alpha1.CheckpointTransfer{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: pushSpec(images.host + "/ckpt")}
		step("push", func() error { return r.push(b.Context(), push) })
		image := push.Status.Image
		b.ReportMetric(float64(image.SizeBytes)/float64(image.ArchiveBytes), "packed")
		step("pull", func() error { return r.pullNowhere(b.Context(), image.Reference) })
		stage := &v1alpha1.CheckpointTransfer{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: stageSpec(image.Reference)}
		step("stage", func() error { return r.stage(b.Context(), stage) })
		slot := slotOf(stage)
		taken, err := area.Take(slot, "c1")
		if err != nil {
			b.Fatal(err)
		}
		step("verify", func() error {
			_, err := staging.Verify(b.Context(), taken, staging.Want{
				MigrationUID: "m-1", Namespace: "shop", PodName: "cart-0-copy", Slot: slot})
			return err
		})
		if err := os.RemoveAll(taken); err != nil {
			b.Fatal(err)
		}
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2]) }
	for round := range steps["copy"] {
		for _, part := range []string{"push", "stage", "verify"} {
			if round == len(steps["whole"]) {
				steps["whole"], work["whole"] = append(steps["whole"], 0), append(work["whole"], 0)
			}
			steps["whole"][round] += steps[part][round]
			work["whole"][round] += work[part][round]
		}
	}
	floor := median(steps["copy"])
	b.ReportMetric(floor/float64(time.Millisecond), "ms-a-copy")
	for name, took := range steps {
		if name != "copy" {
			b.ReportMetric(median(took)/floor, name+"/copy")
		}
		b.ReportMetric(median(work[name])/float64(time.Millisecond), name+"-cpu-ms")
	}
}

// processorTime is what the process has worked: it tells more than the clock on a
// machine that others use, too. The registry's part is in it.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer os.Remove(to)
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Close()
}

func hashFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(sha256.New(), f)
	return err
}

func inspectFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = checkpoint.Inspect(f)
	return err
}

func packFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	img, err := checkpoint.Pack(f, info.Size(), checkpoint.Label{})
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	packed, err := layers[0].Compressed()
	if err != nil {
		return err
	}
	defer packed.Close()
	_, err = io.Copy(io.Discard, packed)
	return err
}

// pullNowhere is a pull of which nothing is kept.
func (r *Reconciler) pullNowhere(ctx context.Context, reference string) error {
	img, err := r.Registry.Pull(ctx, reference)
	if err != nil {
		return err
	}
	contents, err := checkpoint.Contents(img, "m-1")
	if err != nil {
		return err
	}
	defer contents.Close()
	_, err = io.Copy(io.Discard, contents)
	return err
}

// likeMemory fills p with what a heap is like: words of which few bytes are random,
// pages of nothing among them. It packs to about a third.
func likeMemory(p []byte) {
	_, _ = rand.Read(p)
	for i := 0; i+16 <= len(p); i += 16 {
		if i>>12&3 == 0 {
			clear(p[i : i+16])
			continue
		}
		binary.LittleEndian.PutUint64(p[i:], 0xc000_0000_0000|uint64(binary.LittleEndian.Uint16(p[i:]))<<4)
		clear(p[i+11 : i+16])
	}
}

type nobody struct{}

func (nobody) Leg(v1alpha1.TransferDirection, string, time.Duration) {}
func (nobody) Pushed(int64)                                          {}
func (nobody) Pulled(int64)                                          {}

// diskRegistry is the part of a registry that a push and a pull need.
func diskRegistry(b *testing.B) *blobs {
	b.Helper()
	s := &blobs{dir: b.TempDir()}
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = true
	server.StartTLS()
	b.Cleanup(server.Close)
	authority := filepath.Join(s.dir, "ca.crt")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Setenv("SSL_CERT_FILE", authority)
	s.host = strings.TrimPrefix(server.URL, "https://")
	return s
}

type blobs struct {
	host, dir string
	mu        sync.Mutex
	manifests map[string][]byte
}

func (s *blobs) clear() {
	s.manifests = map[string][]byte{}
	old, _ := filepath.Glob(filepath.Join(s.dir, "_v2_*"))
	for _, path := range old {
		_ = os.Remove(path)
	}
}

func (s *blobs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	last := filepath.Join(s.dir, strings.ReplaceAll(r.URL.Path, "/", "_"))
	switch kind := r.Method; {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/manifests/"):
		s.manifest(w, r)
	case kind == http.MethodPost:
		w.Header().Set("Location", r.URL.Path+rand.Text())
		w.WriteHeader(http.StatusAccepted)
	case kind == http.MethodPatch:
		sum, err := receive(last, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Location", r.URL.Path+"?sum="+sum)
		w.WriteHeader(http.StatusAccepted)
	case kind == http.MethodPut:
		digest := r.URL.Query().Get("digest")
		if digest != "sha256:"+r.URL.Query().Get("sum") {
			http.Error(w, digest, http.StatusBadRequest)
			return
		}
		repo, _, _ := strings.Cut(r.URL.Path, "uploads/")
		_ = os.Rename(last, filepath.Join(s.dir, strings.ReplaceAll(repo+digest, "/", "_")))
		w.WriteHeader(http.StatusCreated)
	default:
		f, err := os.Open(last)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "", time.Time{}, f)
	}
}

func (s *blobs) manifest(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPut {
		body, _ := io.ReadAll(r.Body)
		sum := sha256.Sum256(body)
		s.manifests["sha256:"+hex.EncodeToString(sum[:])] = body
		w.WriteHeader(http.StatusCreated)
		return
	}
	body, ok := s.manifests[filepath.Base(r.URL.Path)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	_, _ = w.Write(body)
}

func receive(path string, body io.Reader) (sum string, err error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), body)
	return hex.EncodeToString(h.Sum(nil)), err
}
