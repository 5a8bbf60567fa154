package agent

import (
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/registry"
	"ms2m.dev/ms2m/internal/staging"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	archiveName = "checkpoint-cart-0_shop-cart-2026-01-02T03:04:05Z.tar"
	ownPod      = "agent-uid"
)

// world is a node, an API server and a registry.
type world struct {
	t      *testing.T
	client client.Client
	agent  *Reconciler
	repo   string
	root   string // of the area
	legs   []string
	pushed int64
	pulled int64
}

// Leg, Pushed and Pulled implement Observer.
func (w *world) Leg(direction v1alpha1.TransferDirection, result string, _ time.Duration) {
	w.legs = append(w.legs, string(direction)+" "+result)
}
func (w *world) Pushed(bytes int64) { w.pushed += bytes }
func (w *world) Pulled(bytes int64) { w.pulled += bytes }

func newWorld(t *testing.T) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	w := &world{
		t:      t,
		client: fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.CheckpointTransfer{}).Build(),
		repo:   strings.TrimPrefix(server.URL, "http://") + "/ckpt",
		root:   filepath.Join(t.TempDir(), "ms2m"),
	}
	w.agent = &Reconciler{
		Client:   w.client,
		Registry: registry.New(registry.WithPlainHTTP()),
		Clock:    clocktesting.NewFakePassiveClock(time.Unix(0, 0)),
		Observer: w,
		Node:     "node-a",
		Archives: t.TempDir(),
		Area:     staging.At(w.root),
		Pods:     t.TempDir(),
		PodUID:   ownPod,
	}
	if err := errors.Join(w.agent.Area.Prepare(), os.Mkdir(filepath.Join(w.agent.Pods, ownPod), 0o700)); err != nil {
		t.Fatal(err)
	}
	return w
}

func pushSpec(repo string) v1alpha1.CheckpointTransferSpec {
	return v1alpha1.CheckpointTransferSpec{
		Direction: v1alpha1.TransferPush, NodeName: "node-a", MigrationUID: "m-1", Attempt: 1,
		PodName: "cart-0", PodUID: "uid-1", Container: "cart", Archive: archiveName, Repository: repo,
	}
}

func stageSpec(image string) v1alpha1.CheckpointTransferSpec {
	return v1alpha1.CheckpointTransferSpec{
		Direction: v1alpha1.TransferStage, NodeName: "node-a", MigrationUID: "m-1", Attempt: 1,
		PodName: "cart-0-copy", PodUID: "uid-2", Container: "cart", Image: image,
	}
}

func (w *world) create(name string, spec v1alpha1.CheckpointTransferSpec) {
	w.t.Helper()
	err := w.client.Create(w.t.Context(), &v1alpha1.CheckpointTransfer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-of-" + name)},
		Spec:       spec,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reconcile(name string) error {
	w.t.Helper()
	_, err := w.agent.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}})
	return err
}

// do makes an object, reconciles it once and returns it and its verdict.
func (w *world) do(name string, spec v1alpha1.CheckpointTransferSpec) (*v1alpha1.CheckpointTransfer, *metav1.Condition) {
	w.t.Helper()
	w.create(name, spec)
	if err := w.reconcile(name); err != nil {
		w.t.Fatal(err)
	}
	return w.get(name)
}

func (w *world) get(name string) (*v1alpha1.CheckpointTransfer, *metav1.Condition) {
	w.t.Helper()
	var t v1alpha1.CheckpointTransfer
	if err := w.client.Get(w.t.Context(), types.NamespacedName{Namespace: "shop", Name: name}, &t); err != nil {
		w.t.Fatal(err)
	}
	c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.TransferComplete)
	if c == nil {
		c = &metav1.Condition{}
	}
	return &t, c
}

func (w *world) remove(name string) {
	w.t.Helper()
	t, _ := w.get(name)
	if err := w.client.Delete(w.t.Context(), t); err != nil {
		w.t.Fatal(err)
	}
	if err := w.reconcile(name); err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(t), t); client.IgnoreNotFound(err) != nil || err == nil {
		w.t.Errorf("%s did not go: %v", name, err)
	}
	if err := w.reconcile(name); err != nil { // the event that it is gone
		w.t.Fatal(err)
	}
}

func (w *world) archive(name string, data []byte) string {
	w.t.Helper()
	path := filepath.Join(w.agent.Archives, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) sourceArchive() string {
	return w.archive(archiveName, checkpointtest.Archive(w.t, "shop", "cart-0", "uid-1", "cart"))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
