package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint/checkpointtest"
	"ms2m.dev/ms2m/internal/dump"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// ward is a node on which one container is checkpointed, with real files where
// containerd, CRIU and the kernel have theirs.
type ward struct {
	*world
	thawer    *Thawer
	container dump.Container
	resumed   chan string
	missing   error
	refused   error // of Resume
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{world: newWorld(t), resumed: make(chan string, 1)}
	w.container = dump.Container{ID: "c-1", PID: 1, Dir: t.TempDir(), Upper: t.TempDir()}
	w.thawer = w.restarted()
	w.file(w.container.Upper, "before", "")
	<-time.After(20 * time.Millisecond) // more than a tick of the clock of files
	return w
}

// restarted is the agent as a new process.
func (w *ward) restarted() *Thawer {
	proc := w.t.TempDir()
	w.file(filepath.Join(proc, "1"), "mountinfo", "20 1 0:30 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w\n")
	if err := errors.Join(os.Mkdir(filepath.Join(proc, "1/ns"), 0o700), os.Symlink("pid:[1]", filepath.Join(proc, "1/ns/pid")), os.Mkdir(filepath.Join(proc, "1/fdinfo"), 0o700)); err != nil {
		w.t.Fatal(err)
	}
	w.file(filepath.Join(proc, "1"), "maps", "")
	return &Thawer{Client: w.client, Containers: w, Node: "node-a", Proc: proc}
}

func (w *ward) Find(_ context.Context, podUID, name string) (*dump.Container, error) {
	if podUID != "uid-1" || name != "cart" {
		w.t.Errorf("%s of %s was looked for", name, podUID)
	}
	c := w.container
	return &c, w.missing
}

func (w *ward) Resume(_ context.Context, id string) error {
	w.resumed <- id
	return w.refused
}

func (w *ward) file(dir, name, content string) {
	w.t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

// step lets the checkpoint go a step on.
func (w *ward) step(name string) {
	w.t.Helper()
	content := ""
	if name == "stats-dump" {
		content = string(checkpointtest.Stats(w.t, 1_000, 30_000))
	}
	w.file(filepath.Join(w.container.Dir, "ctrd-checkpoint"), name, content)
}

// attend has the agent attend an attempt.
func (w *ward) attend(name string, change ...func(*v1alpha1.CheckpointTransferSpec)) {
	w.t.Helper()
	t := &v1alpha1.CheckpointTransfer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Finalizers: []string{v1alpha1.FinalizerTransfer}},
		Spec: v1alpha1.CheckpointTransferSpec{
			Direction: v1alpha1.TransferThaw, NodeName: "node-a", MigrationUID: "m-1", Attempt: 1,
			PodName: "cart-0", PodUID: "uid-1", Container: "cart",
		},
	}
	for _, f := range change {
		f(&t.Spec)
	}
	if err := w.client.Create(w.t.Context(), t); err != nil {
		w.t.Fatal(err)
	}
	w.reconciled(name)
}

func (w *ward) reconciled(name string) {
	w.t.Helper()
	if _, err := w.thawer.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) status(name string) v1alpha1.CheckpointTransferStatus {
	w.t.Helper()
	var t v1alpha1.CheckpointTransfer
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &t); err != nil {
		w.t.Fatal(err)
	}
	return t.Status
}

// says waits until the agent has said something, and returns it.
func (w *ward) says(name, kind string) metav1.Condition {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if c := meta.FindStatusCondition(w.status(name).Conditions, kind); c != nil {
			return *c
		}
	}
	w.t.Fatalf("the agent does not say %s: %+v", kind, w.status(name).Conditions)
	return metav1.Condition{}
}

func (w *ward) silentOf(name, kind string) {
	w.t.Helper()
	if c := meta.FindStatusCondition(w.status(name).Conditions, kind); c != nil {
		w.t.Errorf("the agent says %s too early: %+v", kind, c)
	}
}

func keepFrozen(s *v1alpha1.CheckpointTransferSpec) { s.KeepFrozen = true }

func refuseOpenVolumes(s *v1alpha1.CheckpointTransferSpec) { s.RefuseOpenVolumes = true }

// openOnVolume has the container mount a volume and open a file of it for writing.
func openOnVolume(w *ward) {
	dir := filepath.Join(w.thawer.Proc, "1")
	w.file(dir, "mountinfo", "20 1 0:30 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w\n"+
		"21 20 8:1 /pv /data rw - ext4 /dev/x rw\n")
	w.file(filepath.Join(dir, "fdinfo"), "3", "pos:\t0\nflags:\t0100002\nmnt_id:\t21\n")
	w.file(filepath.Join(dir, "data"), "db", "")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "fd"), 0o700), os.Symlink(filepath.Join(dir, "data/db"), filepath.Join(dir, "fd/3"))); err != nil {
		w.t.Error(err)
	}
}

func TestThaw(t *testing.T) {
	for name, c := range map[string]struct {
		spec    []func(*v1alpha1.CheckpointTransferSpec)
		before  func(*ward) // the container is frozen
		after   func(*ward) // it was let go
		resumed bool
		status  metav1.ConditionStatus
		reason  string
	}{
		"well": {resumed: true, status: metav1.ConditionTrue, reason: "Done"},
		"a file changes": {after: func(w *ward) { w.file(w.container.Upper, "after", "") },
			resumed: true, status: metav1.ConditionFalse, reason: v1alpha1.TransferReasonChanged},
		"a file changes, and the answer to Resume is lost": {before: func(w *ward) { w.refused = errors.New("lost") }, after: func(w *ward) { w.file(w.container.Upper, "after", "") },
			resumed: true, status: metav1.ConditionFalse, reason: v1alpha1.TransferReasonChanged},
		"kept frozen": {spec: []func(*v1alpha1.CheckpointTransferSpec){keepFrozen}, after: func(w *ward) { w.file(w.container.Upper, "after", "") },
			status: metav1.ConditionTrue, reason: "Done"},
		"a shared mapping": {before: func(w *ward) {
			w.file(filepath.Join(w.thawer.Proc, "1"), "maps", "7f0000000000-7f0000001000 rw-s 00000000 00:1e 5                          /db\n")
		}, status: metav1.ConditionTrue, reason: "Done"},
		"shared memory": {before: func(w *ward) {
			w.file(filepath.Join(w.thawer.Proc, "1"), "maps", "7f0000000000-7f0000001000 rw-s 00000000 00:01 5                          /memfd:x (deleted)\n")
		}, resumed: true, status: metav1.ConditionTrue, reason: "Done"},
		"a volume's file is open": {spec: []func(*v1alpha1.CheckpointTransferSpec){refuseOpenVolumes}, before: openOnVolume,
			resumed: true, status: metav1.ConditionFalse, reason: v1alpha1.TransferReasonVolumeOpen},
		"a volume's file is open, and nobody minds": {before: openOnVolume, resumed: true, status: metav1.ConditionTrue, reason: "Done"},
		"no volume's file is open": {spec: []func(*v1alpha1.CheckpointTransferSpec){refuseOpenVolumes},
			resumed: true, status: metav1.ConditionTrue, reason: "Done"},
		"what is open on volumes can't be seen": {spec: []func(*v1alpha1.CheckpointTransferSpec){refuseOpenVolumes, keepFrozen}, before: func(w *ward) {
			if err := os.Remove(filepath.Join(w.thawer.Proc, "1/mountinfo")); err != nil {
				w.t.Error(err)
			}
		}, status: metav1.ConditionFalse, reason: v1alpha1.TransferReasonFailed},
		"no writable layer": {before: func(w *ward) {
			w.file(filepath.Join(w.thawer.Proc, "1"), "mountinfo", "20 1 0:30 / / rw - ext4 /dev/x rw\n")
		},
			status: metav1.ConditionTrue, reason: "Done"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t)
			w.attend("thaw-1", c.spec...)
			w.says("thaw-1", v1alpha1.TransferReady)
			if c.before != nil {
				c.before(w)
			}
			w.silentOf("thaw-1", v1alpha1.TransferFrozen)
			w.step("dump.log")
			w.says("thaw-1", v1alpha1.TransferFrozen)
			select {
			case id := <-w.resumed:
				t.Errorf("%s was let go before it was dumped", id)
			default:
			}
			w.step("stats-dump")
			if c.resumed {
				if id := <-w.resumed; id != "c-1" {
					t.Errorf("%s was let go", id)
				}
			}
			w.silentOf("thaw-1", v1alpha1.TransferComplete)
			if c.after != nil {
				c.after(w)
			}
			w.step("status")
			if got := w.says("thaw-1", v1alpha1.TransferComplete); got.Status != c.status || got.Reason != c.reason {
				t.Errorf("verdict %+v", got)
			}
			select {
			case id := <-w.resumed:
				t.Errorf("%s was let go", id)
			default:
			}
			st := w.status("thaw-1")
			if st.Times == nil || st.Times.FreezingMillis != 1 || st.Times.FrozenMillis != 30 {
				t.Errorf("times %+v", st.Times)
			}
			if !meta.IsStatusConditionTrue(st.Conditions, v1alpha1.TransferReady) || !meta.IsStatusConditionTrue(st.Conditions, v1alpha1.TransferFrozen) {
				t.Errorf("conditions %+v", st.Conditions)
			}
		})
	}
}

// TestThawFails: of a dump that fails containerd may have left the container frozen:
// it is let go.
func TestThawFails(t *testing.T) {
	w := newWard(t)
	w.attend("thaw-1")
	w.says("thaw-1", v1alpha1.TransferReady)
	w.step("dump.log")
	<-time.After(20 * time.Millisecond)
	if err := os.RemoveAll(filepath.Join(w.container.Dir, "ctrd-checkpoint")); err != nil {
		t.Fatal(err)
	}
	if c := w.says("thaw-1", v1alpha1.TransferComplete); c.Status != metav1.ConditionFalse {
		t.Errorf("verdict %+v", c)
	}
	select {
	case id := <-w.resumed:
		if id != "c-1" {
			t.Errorf("%s was let go", id)
		}
	default:
		t.Error("the container may be left frozen")
	}
}

// TestThawUnattended: an agent that can't watch keeps its hands off, and says so.
func TestThawUnattended(t *testing.T) {
	w := newWard(t)
	w.missing = errors.New("no such container")
	w.attend("thaw-1")
	if c := w.says("thaw-1", v1alpha1.TransferComplete); c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.TransferReasonUnattended {
		t.Errorf("verdict %+v", c)
	}
}

// TestThawLost: an agent that was restarted does not know what became of it, and
// does not touch the container.
func TestThawLost(t *testing.T) {
	w := newWard(t)
	w.attend("thaw-1")
	w.says("thaw-1", v1alpha1.TransferReady)
	w.thawer.leave("thaw-1") // the process ends
	w.thawer = w.restarted()
	w.reconciled("thaw-1")
	if c := w.says("thaw-1", v1alpha1.TransferComplete); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.TransferReasonLost {
		t.Errorf("verdict %+v", c)
	}
}

// TestThawAgain: what attends an older attempt does not let go what the newer one
// is to keep, and goes with its object.
func TestThawAgain(t *testing.T) {
	w := newWard(t)
	w.attend("thaw-1")
	w.says("thaw-1", v1alpha1.TransferReady)
	w.attend("thaw-2", keepFrozen)
	w.says("thaw-2", v1alpha1.TransferReady)
	w.reconciled("thaw-1") // woken again, it does not begin anew
	for _, f := range []string{"dump.log", "stats-dump", "status"} {
		w.step(f)
	}
	w.says("thaw-2", v1alpha1.TransferComplete)
	w.silentOf("thaw-1", v1alpha1.TransferFrozen)
	select {
	case id := <-w.resumed:
		t.Errorf("%s was let go", id)
	default:
	}
	for _, name := range []string{"thaw-1", "thaw-2"} {
		var o v1alpha1.CheckpointTransfer
		o.Namespace, o.Name = "shop", name
		if err := w.client.Delete(t.Context(), &o); err != nil {
			t.Fatal(err)
		}
		w.reconciled(name)
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(&o), &o); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}
