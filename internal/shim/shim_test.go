package shim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/staging"
)

const (
	uid    = "5f0c-1"
	digest = "sha256:abc"
)

var slot = staging.Slot{PodUID: uid, Container: "cart"}

// fakeRunc stands for runc's task service and writes CRIU's log, if it has one.
type fakeRunc struct {
	taskapi.TTRPCTaskService
	created  []*taskapi.CreateTaskRequest
	started  []*taskapi.StartRequest
	images   []string // CRIU's images, as they were when the container was started
	criuLog  string
	startErr error
}

func (r *fakeRunc) Create(_ context.Context, req *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	r.created = append(r.created, req)
	return &taskapi.CreateTaskResponse{}, nil
}

func (r *fakeRunc) Start(_ context.Context, req *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	r.started = append(r.started, req)
	last := r.created[len(r.created)-1]
	if last.Checkpoint != "" {
		entries, _ := os.ReadDir(last.Checkpoint)
		for _, e := range entries {
			r.images = append(r.images, e.Name())
		}
		if err := os.WriteFile(filepath.Join(last.Bundle, "work", "restore.log"), []byte(r.criuLog), 0o600); err != nil {
			return nil, err
		}
	}
	// The test's own process: its host name is left alone.
	return &taskapi.StartResponse{Pid: uint32(os.Getpid())}, r.startErr
}

func (r *fakeRunc) Delete(context.Context, *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	return &taskapi.DeleteResponse{}, nil
}

type node struct {
	root string
	area staging.Area
	runc *fakeRunc
	shim *Service
}

func newNode(t *testing.T) *node {
	t.Helper()
	root := t.TempDir()
	n := &node{root: root, area: staging.At(root), runc: &fakeRunc{}}
	n.shim = Wrap(n.runc, n.area)
	n.shim.wait = 20 * time.Millisecond
	return n
}

// target are the annotations of the container to be restored.
func target() map[string]string {
	return map[string]string{
		annotationType:          typeContainer,
		annotationNamespace:     "shop",
		annotationPodName:       "cart-0",
		annotationPodUID:        uid,
		annotationContainerName: "cart",
		annotationMigration:     "m-1",
		annotationContainer:     "cart",
	}
}

func bundle(t *testing.T, annotations map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	data, err := json.Marshal(specs.Spec{Annotations: annotations})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"rootfs", "work"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stage lays a checkpoint out, as the agent does.
func (n *node) stage(t *testing.T) {
	t.Helper()
	d, err := n.area.Begin(slot)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d.Dir, staging.ImagesDir), 0o700); err != nil {
		t.Fatal(err)
	}
	r := staging.Record{MigrationUID: "m-1", Namespace: "shop", PodName: "cart-0", PodUID: uid, Container: "cart",
		Image: "registry.example.com/ckpt@" + digest, Files: map[string]staging.File{}}
	for name, body := range map[string][]byte{
		"checkpoint/pages-1.img": []byte("memory"),
		staging.RootfsDiff:       checkpointtest.Layer(t, checkpointtest.Entry{Name: "note", Body: []byte("kept")}, checkpointtest.Entry{Name: ".wh.gone"}),
	} {
		sum := sha256.Sum256(body)
		r.Files[name] = staging.File{Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
		if err := os.WriteFile(filepath.Join(d.Dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Commit(r); err != nil {
		t.Fatal(err)
	}
}

func (n *node) log(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(n.area.LogPath(slot))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAnnotationsAreTheAPIs(t *testing.T) {
	for ours, api := range map[string]string{
		annotationMigration: v1alpha1.AnnotationMigration,
		annotationContainer: v1alpha1.AnnotationContainer,
		notStaged:           v1alpha1.MessageNotStaged,
	} {
		if ours != api {
			t.Errorf("%s is %s in the API", ours, api)
		}
	}
}

func TestOrdinaryContainersStartFromTheirImage(t *testing.T) {
	without := func(key, value string) map[string]string {
		a := target()
		a[key] = value
		return a
	}
	for name, annotations := range map[string]map[string]string{
		"sandbox":           without(annotationType, "sandbox"),
		"pod of no concern": without(annotationMigration, ""),
		"sidecar":           without(annotationContainerName, "proxy"),
		"no annotations":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.stage(t)
			start(t, n, "c1", bundle(t, annotations))
			if n.runc.created[0].Checkpoint != "" {
				t.Error("it was restored")
			}
			if _, err := n.area.Staged(slot); err != nil {
				t.Errorf("it took the other's checkpoint: %v", err)
			}
		})
	}
}

func TestRestore(t *testing.T) {
	n := newNode(t)
	n.runc.criuLog = "(00.1) all is well\n"
	n.stage(t)
	dir := bundle(t, target())
	if err := os.WriteFile(filepath.Join(dir, "rootfs", "gone"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, n, "c1", dir)
	if len(n.runc.images) != 1 || n.runc.images[0] != "pages-1.img" {
		t.Errorf("runc was given the images %v", n.runc.images)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "rootfs", "note")); err != nil || string(data) != "kept" {
		t.Errorf("the writable layer was not applied: %q, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "rootfs", "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the source had removed is there: %v", err)
	}
	if n.log(t) != n.runc.criuLog {
		t.Errorf("kept log is %q", n.log(t))
	}
	if _, err := os.Lstat(n.runc.created[0].Checkpoint); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the used images are still there: %v", err)
	}

	// After a crash the kubelet makes another container of the same pod. Even with
	// a checkpoint in the slot it starts from its image.
	n.stage(t)
	start(t, n, "c2", bundle(t, target()))
	if n.runc.created[1].Checkpoint != "" {
		t.Error("the second container was restored: its state went back in time")
	}
}

func TestRestoreWaits(t *testing.T) {
	n := newNode(t)
	n.shim.wait = time.Minute
	dir := bundle(t, target())
	done := make(chan error, 1)
	go func() {
		_, err := n.shim.Create(t.Context(), &taskapi.CreateTaskRequest{ID: "c1", Bundle: dir})
		done <- err
	}()
	n.stage(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n.runc.created[0].Checkpoint == "" {
		t.Error("it was not restored")
	}
}

func TestNothingStaged(t *testing.T) {
	n := newNode(t)
	_, err := n.shim.Create(t.Context(), &taskapi.CreateTaskRequest{ID: "c1", Bundle: bundle(t, target())})
	if err == nil || !strings.Contains(err.Error(), "no checkpoint was staged") {
		t.Errorf("Create: %v", err)
	}
	if len(n.runc.created) != 0 {
		t.Error("it was created from its image")
	}
	n.stage(t)
	start(t, n, "c2", bundle(t, target()))
	if n.runc.created[0].Checkpoint == "" {
		t.Error("the next try was not restored")
	}
}

func TestRefusedCheckpoint(t *testing.T) {
	n := newNode(t)
	n.stage(t)
	other := target()
	other[annotationNamespace] = "bank"
	_, err := n.shim.Create(t.Context(), &taskapi.CreateTaskRequest{ID: "c1", Bundle: bundle(t, other)})
	if err == nil || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("Create: %v", err)
	}
	if len(n.runc.created) != 0 {
		t.Error("it was created")
	}
	if !strings.Contains(n.log(t), "namespace") {
		t.Errorf("kept log is %q", n.log(t))
	}
	if _, err := n.area.Staged(slot); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the refused checkpoint is still offered: %v", err)
	}
	start(t, n, "c2", bundle(t, other))
	if n.runc.created[0].Checkpoint != "" {
		t.Error("the refused checkpoint was tried again")
	}
}

func TestFailedRestoreNamesTheCause(t *testing.T) {
	n := newNode(t)
	n.stage(t)
	n.runc.criuLog = "(00.1) fine\n(00.2)     1: Error (criu/cr-restore.c:1): CPU capabilities do not match\n(00.3) Error (criu/cr-restore.c:2): Restoring FAILED.\n"
	n.runc.startErr = errors.New("exit status 1")
	dir := bundle(t, target())
	if _, err := n.shim.Create(t.Context(), &taskapi.CreateTaskRequest{ID: "c1", Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	_, err := n.shim.Start(t.Context(), &taskapi.StartRequest{ID: "c1"})
	for _, part := range []string{digest, "CPU capabilities do not match; Restoring FAILED.", "exit status 1"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Start: %v; want it to name %q", err, part)
		}
	}
	if n.log(t) != n.runc.criuLog {
		t.Errorf("kept log is %q", n.log(t))
	}
	n.runc.startErr = nil
	start(t, n, "c2", bundle(t, target()))
	if n.runc.created[1].Checkpoint != "" {
		t.Error("the failed checkpoint was tried again")
	}
}

func TestDeleteBeforeStart(t *testing.T) {
	n := newNode(t)
	n.stage(t)
	if _, err := n.shim.Create(t.Context(), &taskapi.CreateTaskRequest{ID: "c1", Bundle: bundle(t, target())}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.shim.Delete(t.Context(), &taskapi.DeleteRequest{ID: "c1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(n.runc.created[0].Checkpoint); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the images of a container that never started are still there: %v", err)
	}
	if len(n.shim.restores) != 0 {
		t.Error("the container is not forgotten")
	}
}

func start(t *testing.T, n *node, id, bundle string) {
	t.Helper()
	if _, err := n.shim.Create(t.Context(), &taskapi.CreateTaskRequest{ID: id, Bundle: bundle}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.shim.Start(t.Context(), &taskapi.StartRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
}
