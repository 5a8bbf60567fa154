// Package checkpointtest makes archives like those of the kubelet, for tests.
package checkpointtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/stats"
	"google.golang.org/protobuf/proto"
)

// Pages are the contents of the image of memory in an Archive.
var Pages = bytes.Repeat([]byte("a page of memory\x00\x01\x02"), 50_000)

// Entry is an entry of an archive.
type Entry struct {
	Name string
	Body []byte
	// Type is tar.TypeReg if it is zero, and Link the target of a link.
	Type byte
	Link string
}

// Entries are those of a checkpoint that containerd made of that container, the
// process frozen for 30 ms after 12 ms of freezing.
func Entries(t testing.TB, namespace, pod, uid, container string) []Entry {
	t.Helper()
	return []Entry{
		{Name: "checkpoint/", Type: tar.TypeDir},
		{Name: "checkpoint/inventory.img", Body: []byte("inventory")},
		{Name: "checkpoint/pages-1.img", Body: Pages},
		{Name: "config.dump", Body: asJSON(t, map[string]any{"id": "0123", "name": container, "runtime": "io.containerd.runc.v2"})},
		{Name: "container.log", Body: []byte("secret of a log\n")},
		{Name: "dump.log", Body: []byte("(00.0) done\n")},
		{Name: "rootfs-diff.tar", Body: Layer(t, Entry{Name: "note", Body: []byte("written before")})},
		{Name: "spec.dump", Body: asJSON(t, map[string]any{"annotations": map[string]string{
			"io.kubernetes.cri.sandbox-namespace": namespace,
			"io.kubernetes.cri.sandbox-name":      pod,
			"io.kubernetes.cri.sandbox-uid":       uid,
			"io.kubernetes.cri.container-name":    container,
		}})},
		{Name: "stats-dump", Body: Stats(t, 12_000, 30_000)},
	}
}

// Archive is the tar of the Entries of that container.
func Archive(t testing.TB, namespace, pod, uid, container string) []byte {
	t.Helper()
	return Tar(t, Entries(t, namespace, pod, uid, container)...)
}

// Tar is a tar of the entries.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Type == 0 {
			e.Type = tar.TypeReg
		}
		h := &tar.Header{Name: e.Name, Typeflag: e.Type, Linkname: e.Link, Mode: 0o600, Size: int64(len(e.Body))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Layer is a writable layer as containerd stores it.
func Layer(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(Tar(t, entries...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Stats are CRIU's statistics of a dump, with its times in microseconds.
func Stats(t testing.TB, freezing, frozen uint32) []byte {
	t.Helper()
	payload, err := proto.Marshal(&stats.StatsEntry{Dump: &stats.DumpStatsEntry{
		FreezingTime:       proto.Uint32(freezing),
		FrozenTime:         proto.Uint32(frozen),
		MemdumpTime:        proto.Uint32(1),
		MemwriteTime:       proto.Uint32(1),
		PagesScanned:       proto.Uint64(1),
		PagesSkippedParent: proto.Uint64(0),
		PagesWritten:       proto.Uint64(1),
		IrmapResolve:       proto.Uint32(0),
		PagesLazy:          proto.Uint64(0),
	}})
	if err != nil {
		t.Fatal(err)
	}
	b := binary.LittleEndian.AppendUint32(nil, stats.ImgServiceMagic)
	b = binary.LittleEndian.AppendUint32(b, stats.StatsMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
