package checkpoint_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/fault"
)

var source = checkpoint.Origin{Namespace: "shop", PodName: "cart-0", PodUID: "uid-1", Container: "cart"}

func TestInspect(t *testing.T) {
	got, err := checkpoint.Inspect(bytes.NewReader(archive(t)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Origin != source {
		t.Errorf("origin is %+v, want %+v", got.Origin, source)
	}
	if got.Engine != "io.containerd.runc.v2" {
		t.Errorf("engine is %q", got.Engine)
	}
	if got.Frozen == nil || *got.Frozen != 42*time.Millisecond {
		t.Errorf("frozen for %v, want 42ms", got.Frozen)
	}
}

func TestInspectCRIO(t *testing.T) {
	got, err := checkpoint.Inspect(bytes.NewReader(checkpointtest.Tar(t, checkpointtest.Entry{
		Name: "spec.dump",
		Body: []byte(`{"annotations":{"io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.name":"cart-0",
			"io.kubernetes.pod.uid":"uid-1","io.kubernetes.container.name":"cart"}}`),
	})))
	if err != nil {
		t.Fatal(err)
	}
	if got.Origin != source || got.Frozen != nil {
		t.Errorf("got %+v", got)
	}
}

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*checkpoint.Origin)
		ok     bool
	}{
		"itself":              {func(*checkpoint.Origin) {}, true},
		"namespace only":      {func(o *checkpoint.Origin) { o.PodName, o.PodUID = "", "" }, true},
		"another namespace":   {func(o *checkpoint.Origin) { o.Namespace = "bank" }, false},
		"another pod":         {func(o *checkpoint.Origin) { o.PodName = "cart-1" }, false},
		"another container":   {func(o *checkpoint.Origin) { o.Container = "proxy" }, false},
		"namesake of the pod": {func(o *checkpoint.Origin) { o.PodUID = "uid-2" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := source
			tc.change(&want)
			err := (&checkpoint.Archive{Origin: source}).Check(want)
			if (err == nil) != tc.ok {
				t.Errorf("Check: %v", err)
			}
			if err != nil && fault.Of(err).Reason != v1alpha1.TransferReasonInvalidArchive {
				t.Errorf("reason is %s", fault.Of(err).Reason)
			}
		})
	}
}

// Every one of these is refused, by Inspect and by Unpack, and writes nothing
// outside the directory that it is unpacked to.
func TestHostileArchives(t *testing.T) {
	with := func(e ...checkpointtest.Entry) []byte {
		return checkpointtest.Tar(t, append(e, checkpointtest.Entries(t, "shop", "cart-0", "uid-1", "cart")...)...)
	}
	for name, data := range map[string][]byte{
		"parent":             with(checkpointtest.Entry{Name: "../evil"}),
		"parent within":      with(checkpointtest.Entry{Name: "checkpoint/../../evil"}),
		"parent that stays":  with(checkpointtest.Entry{Name: "checkpoint/../evil"}),
		"absolute":           with(checkpointtest.Entry{Name: "/evil"}),
		"symbolic link":      with(checkpointtest.Entry{Name: "checkpoint/core-1.img", Type: tar.TypeSymlink, Link: "/etc/shadow"}),
		"hard link":          with(checkpointtest.Entry{Name: "checkpoint/core-1.img", Type: tar.TypeLink, Link: "../../../evil"}),
		"device":             with(checkpointtest.Entry{Name: "checkpoint/core-1.img", Type: tar.TypeChar}),
		"link as directory":  with(checkpointtest.Entry{Name: "checkpoint", Type: tar.TypeSymlink, Link: "/tmp"}),
		"twice":              with(checkpointtest.Entry{Name: "checkpoint/pages-1.img"}),
		"twice, in disguise": with(checkpointtest.Entry{Name: "checkpoint//pages-1.img"}),
		"cut off":            with()[:20_000],
		"no tar":             []byte(strings.Repeat("no tar at all ", 100)),
		"empty":              nil,
		"no owner":           checkpointtest.Tar(t, checkpointtest.Entry{Name: "checkpoint/x.img"}),
		"broken spec":        checkpointtest.Tar(t, checkpointtest.Entry{Name: "spec.dump", Body: []byte("{")}),
		"huge spec":          checkpointtest.Tar(t, checkpointtest.Entry{Name: "spec.dump", Body: make([]byte, 5<<20)}),
		"sparse":             sparse(t),
		"broken statistics":  with(checkpointtest.Entry{Name: "stats-dump", Body: []byte("short")}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := checkpoint.Inspect(bytes.NewReader(data))
			refused(t, "Inspect", err)
			parent := t.TempDir()
			_, _, err = checkpoint.Unpack(bytes.NewReader(data), makeDir(t, parent))
			refused(t, "Unpack", err)
			onlyIn(t, parent)
		})
	}
}

func TestUnpackReportsItsSource(t *testing.T) {
	broken := fault.Passing("connection reset")
	r := io.MultiReader(bytes.NewReader(archive(t)[:5_000]), iotest.ErrReader(broken))
	_, _, err := checkpoint.Unpack(r, t.TempDir())
	if !errors.Is(err, broken) || !fault.Of(err).Passing {
		t.Errorf("Unpack: %v, want the error of the source", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file.tar"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file.tar", filepath.Join(dir, "link.tar")); err != nil {
		t.Fatal(err)
	}
	for name, reason := range map[string]string{
		"file.tar":    "",
		"link.tar":    v1alpha1.TransferReasonInvalidArchive,
		"../file.tar": v1alpha1.TransferReasonInvalidArchive,
		"..":          v1alpha1.TransferReasonInvalidArchive,
		".":           v1alpha1.TransferReasonInvalidArchive,
		"":            v1alpha1.TransferReasonInvalidArchive,
		"absent.tar":  v1alpha1.TransferReasonNotFound,
	} {
		f, err := checkpoint.Open(dir, name)
		if reason == "" {
			if err != nil {
				t.Errorf("Open(%q): %v", name, err)
			}
			f.Close()
			continue
		}
		if err == nil || fault.Of(err).Reason != reason {
			t.Errorf("Open(%q) = %v, want %s", name, err, reason)
		}
	}
}

// FuzzUnpack holds that no archive, however made, is written outside of its directory.
func FuzzUnpack(f *testing.F) {
	f.Add(checkpointtest.Tar(f,
		checkpointtest.Entry{Name: "checkpoint/a.img", Body: []byte("x")},
		checkpointtest.Entry{Name: "spec.dump", Body: []byte(`{"annotations":{"io.kubernetes.pod.namespace":"n",
			"io.kubernetes.pod.name":"p","io.kubernetes.container.name":"c"}}`)}))
	f.Add(checkpointtest.Tar(f, checkpointtest.Entry{Name: "../evil", Body: []byte("x")}))
	f.Add(checkpointtest.Tar(f,
		checkpointtest.Entry{Name: "checkpoint/a", Type: tar.TypeSymlink, Link: "../.."},
		checkpointtest.Entry{Name: "checkpoint/a/evil", Body: []byte("x")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		_, files, err := checkpoint.Unpack(bytes.NewReader(data), makeDir(t, parent))
		if err == nil && len(files) == 0 {
			t.Error("nothing was unpacked, and no error said so")
		}
		onlyIn(t, parent)
	})
}

func archive(t testing.TB) []byte {
	return checkpointtest.Archive(t, source.Namespace, source.PodName, source.PodUID, source.Container)
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s accepted it", what)
	}
	if f := fault.Of(err); f.Reason != v1alpha1.TransferReasonInvalidArchive || f.Passing {
		t.Errorf("%s: %v has the reason %s", what, err, f.Reason)
	}
}

func makeDir(t *testing.T, parent string) string {
	t.Helper()
	dir := filepath.Join(parent, "restore")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sparse is an entry of a terabyte in a few bytes.
func sparse(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "checkpoint/pages-1.img", Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"XNU.sparse.major": "1", "XNU.sparse.minor": "0",
			"XNU.sparse.name": "checkpoint/pages-1.img", "XNU.sparse.realsize": "1099511627776"}, Size: 512}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(append([]byte("0\n"), make([]byte, 510)...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// Go writes no sparse files, so the records get their names here: they are as
	// long as those that they replace.
	return bytes.ReplaceAll(b.Bytes(), []byte("XNU.sparse."), []byte("GNU.sparse."))
}

func onlyIn(t *testing.T, parent string) {
	t.Helper()
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 {
		t.Errorf("something was written beside the directory: %v, %v", entries, err)
	}
}
