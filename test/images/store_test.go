package images

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.." // of the repository
	debian = "localhost/debian"
	static = "localhost/static"
)

// store is buildah with images and containers of its own.
type store struct {
	t   *testing.T
	env []string
	// caches are Go's, which the builds share with this machine: they would take minutes without.
	caches []string
}

func newStore(t *testing.T) *store {
	t.Helper()
	dir := t.TempDir()
	var caches, volumes []string
	for _, name := range []string{"GOROOT", "GOCACHE", "GOMODCACHE"} {
		path := strings.TrimSpace(command(t, nil, "go", "env", name))
		if volumes = append(volumes, fmt.Sprintf("%q", path+":"+path)); name == "GOROOT" {
			continue
		}
		caches = append(caches, name+"="+path)
	}
	write(t, filepath.Join(dir, "storage.conf"), fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = %q\nrunroot = %q\n[storage.options.overlay]\nskip_mount_home = \"true\"\n",
		"overlay", filepath.Join(dir, "store"), filepath.Join(dir, "run")))
	write(t, filepath.Join(dir, "containers.conf"), "[containers]\nvolumes = ["+strings.Join(volumes, ", ")+"]\n")
	s := &store{t: t, caches: caches, env: append(os.Environ(),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(dir, "storage.conf"),
		"CONTAINERS_CONF="+filepath.Join(dir, "containers.conf"),
		// User namespaces, and whatever runc wants of the cgroups, are not everywhere to be had.
		"BUILDAH_ISOLATION=chroot",
		"TMPDIR="+dir)}
	t.Cleanup(func() { s.buildah("rm", "--all") }) // unmounts them
	return s
}

// on is the same store in a subtest.
func (s *store) on(t *testing.T) *store {
	sub := *s
	sub.t = t
	return &sub
}

// buildah runs it and returns what it writes.
func (s *store) buildah(args ...string) string {
	s.t.Helper()
	return strings.TrimSpace(command(s.t, s.env, "buildah", args...))
}

// container makes a container of an image and returns it and where its root is mounted.
func (s *store) container(image string) (id, dir string) {
	s.t.Helper()
	id = s.buildah("from", "--pull-never", image)
	return id, s.buildah("mount", id)
}

func (s *store) commit(id string, args ...string) {
	s.t.Helper()
	s.buildah("umount", id)
	s.buildah(slices.Concat([]string{"commit", "--quiet", "--disable-compression"}, args)...)
	s.buildah("rm", id)
}

// bases makes what the Dockerfile builds on: registries may be out of reach. Debian
// is that of the lab, into which this machine's Go is mounted.
func (s *store) bases() {
	s.t.Helper()
	id, dir := s.container("scratch")
	// What is big and of no use here stays out.
	command(s.t, nil, "sh", "-ec", `tar -C "$1" --exclude=./usr/lib/cni --exclude=./usr/lib/erlang --exclude=./usr/lib/rabbitmq --exclude=./usr/lib/python3* \
		--exclude=./usr/share/locale --exclude=./usr/share/man --exclude=./usr/bin/etcd* --exclude=./usr/bin/docker-registry --exclude=./usr/sbin/runc \
		-c . | tar -C "$2" -x`, "sh", rootfs(s.t), dir)
	goroot := strings.TrimSpace(command(s.t, nil, "go", "env", "GOROOT"))
	s.buildah("config", "--env", "PATH="+goroot+"/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--env", "GOTOOLCHAIN=local", id)
	s.commit(id, id, debian)

	s.buildah("manifest", "create", static)
	for _, arch := range []string{"amd64", "arm64"} {
		id, dir := s.container("scratch")
		write(s.t, filepath.Join(dir, "etc/passwd"), "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
		s.buildah("config", "--arch", arch, id)
		s.commit(id, "--manifest", static, id)
	}
}

// rootfs is Debian, as the lab has unpacked it.
func rootfs(t *testing.T) string {
	t.Helper()
	lab := os.Getenv("MS2M_LAB_BIN")
	if lab == "" {
		t.Fatal("MS2M_LAB_BIN is not set: run this by make images")
	}
	for line := range strings.Lines(command(t, nil, lab, "paths")) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "ROOTFS="); ok {
			return dir
		}
	}
	t.Fatal("lab paths names no ROOTFS")
	return ""
}

func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	if t.Context().Err() != nil { // when cleaning up
		cmd = exec.Command(name, args...)
	}
	cmd.Env = env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
