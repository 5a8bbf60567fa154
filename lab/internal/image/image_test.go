package image

import (
	"archive/tar"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog")
	if err := os.WriteFile(path, []byte("#!prog"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBuildIsReproducible(t *testing.T) {
	s := Spec{Files: []File{{Source: binary(t), Target: "/usr/bin/prog"}}, Entrypoint: []string{"/usr/bin/prog"}}
	var digests []string
	for range 2 {
		img, err := Build(s)
		if err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %v", digests)
	}
}

func TestLayerHoldsParentsBeforeFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := layer(Spec{Files: []File{{binary(t), "/usr/bin/prog"}, {dir, "/data"}}, CABundle: []byte("ca")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	r := tar.NewReader(strings.NewReader(string(data)))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	want := []string{"tmp/", "etc/", "etc/passwd", "etc/group", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt",
		"usr/", "usr/bin/", "usr/bin/prog", "data/", "data/x"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	img, err := Build(Spec{Files: []File{{binary(t), "/prog"}}, Entrypoint: []string{"/prog"}, Env: []string{"A=b"}, User: "65532"})
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	byDigest, err := Push(t.Context(), host+"/counter:1", img, server.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	_, digest, _ := strings.Cut(byDigest, "@")
	ref, err := name.NewDigest(host + "/counter@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := pulled.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532" || !slices.Contains(config.Config.Env, "A=b") || config.Config.Entrypoint[0] != "/prog" {
		t.Errorf("config %+v", config.Config)
	}
}

func TestPushRefusesANameWithoutATag(t *testing.T) {
	img, err := Build(Spec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Push(t.Context(), "localhost:1/counter", img, nil); err == nil {
		t.Error("no error")
	}
}
