package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/staging"
)

func TestUnstage(t *testing.T) {
	w := newWorld(t)
	w.sourceArchive()
	push, _ := w.do("push", pushSpec(w.repo))
	w.do("stage", stageSpec(push.Status.Image.Reference))
	slot := staging.Slot{PodUID: "uid-2", Container: "cart"}
	if _, err := w.agent.Area.Staged(slot); err != nil {
		t.Fatal(err)
	}
	w.remove("stage")
	if _, err := w.agent.Area.Staged(slot); err == nil {
		t.Error("it is still staged")
	}
}

func TestSweepLeg(t *testing.T) {
	w := newWorld(t)
	mine := []string{
		w.sourceArchive(),
		w.archive("checkpoint-cart-0_shop-cart-2026-01-02T03:04:09Z.tar", checkpointtest.Archive(t, "shop", "cart-0", "uid-1", "cart")),
		w.archive("checkpoint-cart-0_shop-cart-2026-01-02T03:05:00Z.tar", []byte("cut off by a full disk")),
	}
	others := []string{
		w.archive("checkpoint-cart-1_shop-cart-2026-01-02T03:04:05Z.tar", checkpointtest.Archive(t, "shop", "cart-1", "uid-3", "cart")),
		// Of namespace "shop" and container "cart-x", or of "shop-cart" and "x": the name does not tell.
		w.archive("checkpoint-cart-0_shop-cart-x-2026-01-02T03:04:05Z.tar", checkpointtest.Archive(t, "shop-cart", "cart-0", "uid-4", "x")),
		w.archive("checkpoint-cart-0_shop-cart-2025-01-02T03:04:05Z.tar", checkpointtest.Archive(t, "shop", "cart-0", "uid-of-old", "cart")),
		w.archive("notes.txt", []byte("of an administrator")),
	}
	if _, verdict := w.do("sweep", v1alpha1.CheckpointTransferSpec{
		Direction: v1alpha1.TransferSweep, NodeName: "node-a", MigrationUID: "m-1",
		PodName: "cart-0", PodUID: "uid-1", Container: "cart",
	}); verdict.Status != metav1.ConditionTrue {
		t.Errorf("verdict is %+v", verdict)
	}
	for _, path := range mine {
		if exists(path) {
			t.Errorf("%s is still there", filepath.Base(path))
		}
	}
	for _, path := range others {
		if !exists(path) {
			t.Errorf("%s was removed", filepath.Base(path))
		}
	}
	w.remove("sweep")
}

func TestSweepOfPods(t *testing.T) {
	w := newWorld(t)
	for _, uid := range []string{"here", "awaited", "gone"} {
		if _, err := w.agent.Area.Begin(staging.Slot{PodUID: uid, Container: "cart"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(w.agent.Pods, "here"), 0o700); err != nil {
		t.Fatal(err)
	}
	spec := stageSpec("registry.example.com/ckpt@sha256:abc")
	spec.PodUID = "awaited"
	w.create("stage", spec)
	// It was restored here, is the source of the next migration, and has left.
	spec = stageSpec("registry.example.com/ckpt@sha256:abc")
	spec.Direction, spec.PodUID = v1alpha1.TransferSweep, "gone"
	w.create("sweep", spec)
	left := func() (uids []string) {
		entries, err := filepath.Glob(filepath.Join(w.root, "restore", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			uids = append(uids, filepath.Base(e))
		}
		return uids
	}

	w.agent.PodUID = "not-here"
	if err := w.agent.Sweep(t.Context()); err == nil || len(left()) != 3 {
		t.Errorf("swept without seeing the kubelet's pods: %v, left %v", err, left())
	}
	w.agent.PodUID = ownPod
	if err := w.agent.Sweep(t.Context()); err != nil || strings.Join(left(), " ") != "awaited here" {
		t.Errorf("Sweep: %v, left %v", err, left())
	}
}
