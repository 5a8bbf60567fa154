package agent

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/staging"
)

func TestPushAndStage(t *testing.T) {
	w := newWorld(t)
	path := w.sourceArchive()
	push, verdict := w.do("push", pushSpec(w.repo))
	if verdict.Status != metav1.ConditionTrue || verdict.Reason != v1alpha1.TransferReasonDone {
		t.Fatalf("push ended with %+v", verdict)
	}
	image := push.Status.Image
	if image.Reference != w.repo+"@"+image.Digest || image.ArchiveBytes == 0 || image.SizeBytes == 0 || image.SizeBytes >= image.ArchiveBytes {
		t.Errorf("image is %+v", image)
	}
	if f := push.Status.FreezeMillis; f == nil || *f != 42 {
		t.Errorf("freeze is %v", f)
	}
	if exists(path) {
		t.Error("the archive is still on the node")
	}

	stage, verdict := w.do("stage", stageSpec(image.Reference))
	if verdict.Status != metav1.ConditionTrue || stage.Status.DurationMillis == nil {
		t.Fatalf("stage ended with %+v", stage.Status)
	}
	slot := staging.Slot{PodUID: "uid-2", Container: "cart"}
	dir, err := w.agent.Area.Take(slot, "c1")
	if err != nil {
		t.Fatal(err)
	}
	from, err := staging.Verify(t.Context(), dir, staging.Want{
		MigrationUID: "m-1", Namespace: "shop", PodName: "cart-0-copy", Slot: slot,
	})
	if err != nil || from != image.Reference {
		t.Errorf("the shim would refuse it, or restore %q: %v", from, err)
	}
	if want := "Push done,Stage done"; strings.Join(w.legs, ",") != want || w.pushed != image.SizeBytes || w.pulled != image.SizeBytes {
		t.Errorf("observed %v, %d bytes pushed, %d pulled, want %s and %d", w.legs, w.pushed, w.pulled, want, image.SizeBytes)
	}
	if exists(filepath.Join(dir, "container.log")) {
		t.Error("more was staged than a restore needs")
	}

	w.remove("push")
	w.remove("stage")
	if used, _ := w.agent.Area.Used(slot); len(used) != 0 {
		t.Error("the mark is kept for a pod that is not on this node")
	}
}

// A crash can come between any effect and the status. What is done again then
// comes to the same end.
func TestDoneAgain(t *testing.T) {
	w := newWorld(t)
	w.sourceArchive()
	first, _ := w.do("push-1", pushSpec(w.repo))
	path := w.sourceArchive()
	again, verdict := w.do("push-2", pushSpec(w.repo))
	if verdict.Status != metav1.ConditionTrue || again.Status.Image.Digest != first.Status.Image.Digest {
		t.Errorf("pushed again: %+v", again.Status)
	}

	// The status was written and the archive not removed yet.
	w.archive(archiveName, checkpointtest.Archive(t, "shop", "cart-0", "uid-1", "cart"))
	if err := w.reconcile("push-2"); err != nil || exists(path) {
		t.Errorf("the archive of a finished push is still there, %v", err)
	}

	ref := first.Status.Image.Reference
	w.do("stage-1", stageSpec(ref))
	if _, verdict := w.do("stage-2", stageSpec(ref)); verdict.Status != metav1.ConditionTrue {
		t.Errorf("staged again: %+v", verdict)
	}
	slot := staging.Slot{PodUID: "uid-2", Container: "cart"}
	if _, err := w.agent.Area.Take(slot, "c1"); err != nil {
		t.Fatal(err)
	}
	if _, verdict := w.do("stage-3", stageSpec(ref)); verdict.Status != metav1.ConditionTrue {
		t.Errorf("staged again after it was taken: %+v", verdict)
	}
	if _, err := w.agent.Area.Staged(slot); err == nil {
		t.Error("a second copy is staged for a pod that has taken the first")
	}
}

func TestVerdicts(t *testing.T) {
	foreign := func(change func(*v1alpha1.CheckpointTransferSpec)) v1alpha1.CheckpointTransferSpec {
		s := pushSpec("registry.example.com/ckpt")
		change(&s)
		return s
	}
	for name, tc := range map[string]struct {
		spec    v1alpha1.CheckpointTransferSpec
		reason  string
		removed bool
	}{
		"no archive":        {foreign(func(s *v1alpha1.CheckpointTransferSpec) { s.Archive = "checkpoint-cart-0_shop-cart-x.tar" }), v1alpha1.TransferReasonNotFound, false},
		"outside":           {foreign(func(s *v1alpha1.CheckpointTransferSpec) { s.Archive = "../" + archiveName }), v1alpha1.TransferReasonInvalidArchive, false},
		"another pod":       {foreign(func(s *v1alpha1.CheckpointTransferSpec) { s.PodName = "cart-1" }), v1alpha1.TransferReasonInvalidArchive, false},
		"another UID":       {foreign(func(s *v1alpha1.CheckpointTransferSpec) { s.PodUID = "uid-9" }), v1alpha1.TransferReasonInvalidArchive, false},
		"another container": {foreign(func(s *v1alpha1.CheckpointTransferSpec) { s.Container = "proxy" }), v1alpha1.TransferReasonInvalidArchive, false},
		"unknown direction": {foreign(func(s *v1alpha1.CheckpointTransferSpec) { s.Direction = "Beam" }), v1alpha1.TransferReasonFailed, false},
		"bad repository":    {foreign(func(s *v1alpha1.CheckpointTransferSpec) { s.Repository = "not a repository" }), v1alpha1.TransferReasonFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path := w.sourceArchive()
			_, verdict := w.do("push", tc.spec)
			if verdict.Status != metav1.ConditionFalse || verdict.Reason != tc.reason {
				t.Errorf("verdict is %+v, want %s", verdict, tc.reason)
			}
			w.remove("push")
			if exists(path) == tc.removed {
				t.Errorf("archive removed: %v, want %v", tc.removed, !exists(path))
			}
		})
	}
}

func TestStageRefuses(t *testing.T) {
	w := newWorld(t)
	w.sourceArchive()
	push, _ := w.do("push", pushSpec(w.repo))
	ref := push.Status.Image.Reference
	for name, change := range map[string]func(*v1alpha1.CheckpointTransferSpec){
		"another migration": func(s *v1alpha1.CheckpointTransferSpec) { s.MigrationUID = "m-2" },
		"another container": func(s *v1alpha1.CheckpointTransferSpec) { s.Container = "proxy" },
	} {
		spec := stageSpec(ref)
		change(&spec)
		_, verdict := w.do(strings.ReplaceAll(name, " ", "-"), spec)
		if verdict.Status != metav1.ConditionFalse || verdict.Reason != v1alpha1.TransferReasonInvalidArchive {
			t.Errorf("%s: %+v", name, verdict)
		}
		entries, _ := filepath.Glob(filepath.Join(w.root, "restore", "uid-2", "*"))
		if len(entries) != 0 {
			t.Errorf("%s: left behind %v", name, entries)
		}
	}
}

// unreliable fails in passing a number of times.
type unreliable struct {
	Registry
	failures int
}

func (u *unreliable) Push(ctx context.Context, repository, tag string, img v1.Image) (string, error) {
	if u.failures--; u.failures >= 0 {
		return "", fault.Passing("connection refused")
	}
	return u.Registry.Push(ctx, repository, tag, img)
}

func TestPassingFailureIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.agent.Registry = &unreliable{w.agent.Registry, 2}
	path := w.sourceArchive()
	w.create("push", pushSpec(w.repo))
	for range 2 {
		if err := w.reconcile("push"); err == nil {
			t.Fatal("a passing failure is not tried again")
		}
		if _, verdict := w.get("push"); verdict.Status != metav1.ConditionUnknown || verdict.Reason != v1alpha1.TransferReasonRetrying {
			t.Errorf("meanwhile %+v", verdict)
		}
		if !exists(path) {
			t.Fatal("the archive was removed before it was pushed")
		}
	}
	if err := w.reconcile("push"); err != nil {
		t.Fatal(err)
	}
	if _, verdict := w.get("push"); verdict.Status != metav1.ConditionTrue {
		t.Errorf("at last %+v", verdict)
	}
}

// stuck never ends a push by itself.
type stuck struct {
	Registry
	begun chan struct{}
}

func (s *stuck) Push(ctx context.Context, _, _ string, _ v1.Image) (string, error) {
	close(s.begun)
	<-ctx.Done()
	return "", ctx.Err()
}

func TestDeletionCancels(t *testing.T) {
	w := newWorld(t)
	s := &stuck{begun: make(chan struct{})}
	w.agent.Registry = s
	path := w.sourceArchive()
	w.create("push", pushSpec(w.repo))
	done := make(chan error, 1)
	go func() { done <- w.reconcile("push") }()
	<-s.begun
	w.agent.Cancel("uid-of-push")
	if err := <-done; err != nil {
		t.Errorf("a cancelled leg returned %v", err)
	}
	if _, verdict := w.get("push"); verdict.Status != "" {
		t.Errorf("a cancelled leg has the verdict %+v", verdict)
	}
	w.remove("push")
	if exists(path) {
		t.Error("the archive is still on the node")
	}
}

func TestOtherNodesAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	spec := pushSpec(w.repo)
	spec.NodeName = "node-b"
	if got, verdict := w.do("push", spec); verdict.Status != "" || len(got.Finalizers) != 0 {
		t.Errorf("it was touched: %+v", got)
	}
}
