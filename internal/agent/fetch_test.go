package agent

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/staging"
)

func fetchSpec(image string) v1alpha1.CheckpointTransferSpec {
	s := pushSpec("")
	s.Direction, s.Archive, s.Image = v1alpha1.TransferFetch, "", image
	return s
}

// counted counts the pulls.
type counted struct {
	Registry
	pulls int
}

func (c *counted) Pull(ctx context.Context, ref string) (v1.Image, error) {
	c.pulls++
	return c.Registry.Pull(ctx, ref)
}

// pushed is a world with a checkpoint in its registry.
func pushed(t *testing.T) (w *world, c *counted, image *v1alpha1.CheckpointImage) {
	t.Helper()
	w = newWorld(t)
	c = &counted{Registry: w.agent.Registry}
	w.agent.Registry = c
	w.sourceArchive()
	push, _ := w.do("push", pushSpec(w.repo))
	return w, c, push.Status.Image
}

func (w *world) fetched() []string {
	w.t.Helper()
	names, err := w.agent.Area.FetchedNames()
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

func TestFetchAndStage(t *testing.T) {
	w, c, image := pushed(t)
	for _, name := range []string{"fetch", "fetch-again"} { // an agent that forgot that it has done it
		if _, verdict := w.do(name, fetchSpec(image.Reference)); verdict.Status != metav1.ConditionTrue || c.pulls != 1 {
			t.Fatalf("fetch ended with %+v after %d pulls", verdict, c.pulls)
		}
	}
	if got := w.fetched(); len(got) != 1 || got[0] != "m-1-"+strings.TrimPrefix(image.Digest, "sha256:") {
		t.Errorf("fetched is %v", got)
	}
	if err := w.agent.Sweep(t.Context()); err != nil || len(w.fetched()) != 1 {
		t.Errorf("swept away, %v", err)
	}

	if _, verdict := w.do("stage", stageSpec(image.Reference)); verdict.Status != metav1.ConditionTrue || c.pulls != 1 {
		t.Fatalf("stage ended with %+v after %d pulls", verdict, c.pulls)
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
	if left := w.fetched(); len(left) != 0 {
		t.Errorf("what was taken is still there: %v", left)
	}

	// Another pod for the same image: it pulls, as nothing is there any more.
	again := stageSpec(image.Reference)
	again.PodUID = "uid-3"
	if _, verdict := w.do("stage-again", again); verdict.Status != metav1.ConditionTrue || c.pulls != 2 {
		t.Errorf("stage ended with %+v after %d pulls", verdict, c.pulls)
	}
	w.remove("fetch")
	if _, err := w.agent.Area.Staged(staging.Slot{PodUID: "uid-3", Container: "cart"}); err != nil {
		t.Errorf("the fetch's end took what is staged: %v", err)
	}
}

func TestStageTakesOnlyItsOwn(t *testing.T) {
	w, c, image := pushed(t)
	w.do("fetch", fetchSpec(image.Reference))
	spec := stageSpec(image.Reference)
	spec.Container = "proxy"
	if _, verdict := w.do("stage", spec); verdict.Reason != v1alpha1.TransferReasonInvalidArchive || c.pulls != 2 {
		t.Errorf("another container: %+v after %d pulls", verdict, c.pulls)
	}
	if len(w.fetched()) != 1 {
		t.Errorf("fetched is %v", w.fetched())
	}
}

func TestFetchRefuses(t *testing.T) {
	w, _, image := pushed(t)
	for name, tc := range map[string]struct {
		change func(*v1alpha1.CheckpointTransferSpec)
		reason string
	}{
		"another migration": {func(s *v1alpha1.CheckpointTransferSpec) { s.MigrationUID = "m-2" }, v1alpha1.TransferReasonInvalidArchive},
		"another container": {func(s *v1alpha1.CheckpointTransferSpec) { s.Container = "proxy" }, v1alpha1.TransferReasonInvalidArchive},
		"another source":    {func(s *v1alpha1.CheckpointTransferSpec) { s.PodUID = "uid-9" }, v1alpha1.TransferReasonInvalidArchive},
		"no such image": {func(s *v1alpha1.CheckpointTransferSpec) { s.Image = w.repo + "@sha256:" + strings.Repeat("0", 64) },
			v1alpha1.TransferReasonNotFound},
		"no digest":    {func(s *v1alpha1.CheckpointTransferSpec) { s.Image = w.repo + "@sha256:../../x" }, v1alpha1.TransferReasonFailed},
		"no migration": {func(s *v1alpha1.CheckpointTransferSpec) { s.MigrationUID = "../x" }, v1alpha1.TransferReasonFailed},
	} {
		spec := fetchSpec(image.Reference)
		tc.change(&spec)
		object := strings.ReplaceAll(name, " ", "-")
		if _, verdict := w.do(object, spec); verdict.Status != metav1.ConditionFalse || verdict.Reason != tc.reason {
			t.Errorf("%s: %+v", name, verdict)
		}
		if left := w.fetched(); len(left) != 0 {
			t.Errorf("%s: left behind %v", name, left)
		}
		w.remove(object)
	}
}

// TestFetchedLeftovers: what nobody took goes with its transfer, what a transfer
// has left that is gone with the next sweep, and everything when the agent starts.
func TestFetchedLeftovers(t *testing.T) {
	w, _, image := pushed(t)
	w.do("fetch", fetchSpec(image.Reference))
	w.remove("fetch")
	if left := w.fetched(); len(left) != 0 {
		t.Errorf("left after the fetch: %v", left)
	}

	w.do("fetch", fetchSpec(image.Reference))
	lost := staging.Record{MigrationUID: "m-0", Image: "r@sha256:" + strings.Repeat("1", 64)}
	if _, err := w.agent.Area.BeginFetch(lost); err != nil {
		t.Fatal(err)
	}
	if err := w.agent.Sweep(t.Context()); err != nil || len(w.fetched()) != 1 {
		t.Errorf("left after the sweep: %v, %v", w.fetched(), err)
	}
	if err := w.agent.Area.RemoveDrafts(); err != nil || exists(filepath.Join(w.root, "fetched")) {
		t.Errorf("left for the next agent: %v, %v", w.fetched(), err)
	}
}
