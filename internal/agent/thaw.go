package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint"
	"ms2m.dev/ms2m/internal/dump"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Containers are the containers that run on the node.
type Containers interface {
	Find(ctx context.Context, podUID, name string) (*dump.Container, error)
	Resume(ctx context.Context, id string) error
}

// resumeTimeout bounds how long a Thaw waits for containerd to let the container
// go. After it containerd does so anyway, when everything is packed.
const resumeTimeout = 30 * time.Second

// Thawer attends checkpoints: the Thaws of one node.
//
// A Thaw begins when its object is reconciled and lasts until the checkpoint is
// packed or the object goes: not in the reconcile, which would keep a worker, but
// beside it. What it has seen is lost with the process. The next one says so, and
// the checkpoint counts for nothing: whether the container was let go too early,
// nobody knows.
type Thawer struct {
	Client     client.Client
	Containers Containers
	// Node is the name of this node.
	Node string
	// Proc is the procfs of the node.
	Proc string

	mu       sync.Mutex
	attended map[types.UID]*attendance
}

// attendance is a Thaw under way.
type attendance struct {
	pod       types.UID
	container string
	cancel    context.CancelFunc
}

// Reconcile begins or ends the attendance of a checkpoint.
func (r *Thawer) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var t v1alpha1.CheckpointTransfer
	if err := r.Client.Get(ctx, req.NamespacedName, &t); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if t.Spec.NodeName != r.Node || t.Spec.Direction != v1alpha1.TransferThaw {
		return reconcile.Result{}, nil
	}
	ctx = logged(ctx, &t)
	if !t.DeletionTimestamp.IsZero() {
		r.leave(t.UID)
		base := t.DeepCopy()
		if !controllerutil.RemoveFinalizer(&t, v1alpha1.FinalizerTransfer) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(r.Client.Patch(ctx, &t, onTopOf(base)))
	}
	switch {
	case meta.FindStatusCondition(t.Status.Conditions, v1alpha1.TransferComplete) != nil, r.attends(t.UID):
		return reconcile.Result{}, nil
	case meta.IsStatusConditionTrue(t.Status.Conditions, v1alpha1.TransferReady):
		return reconcile.Result{}, r.say(ctx, &t, nil, verdict(metav1.ConditionFalse, v1alpha1.TransferReasonLost, "the agent was restarted while it watched"))
	}
	return reconcile.Result{}, r.begin(ctx, &t)
}

// begin watches, and then says that it does.
func (r *Thawer) begin(ctx context.Context, t *v1alpha1.CheckpointTransfer) error {
	c, err := r.Containers.Find(ctx, string(t.Spec.PodUID), t.Spec.Container)
	var w *dump.Watch
	if err == nil {
		w, err = dump.Open(c.Dir)
	}
	if err != nil {
		return r.say(ctx, t, nil, verdict(metav1.ConditionTrue, v1alpha1.TransferReasonUnattended, err.Error()))
	}
	// It lasts longer than this reconcile.
	attend, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(attend, func() { _ = w.Close() })
	r.enter(t, cancel)
	if err := r.say(ctx, t, nil, metav1.Condition{Type: v1alpha1.TransferReady, Status: metav1.ConditionTrue, Reason: v1alpha1.TransferReasonDone}); err != nil {
		r.leave(t.UID)
		return err
	}
	go func() {
		defer cancel()
		(&thaw{Thawer: r, transfer: t, container: c, watch: w}).run(attend)
	}()
	return nil
}

// say writes conditions. Nobody else writes this status, so there is nothing of
// another's to be overwritten.
func (r *Thawer) say(ctx context.Context, t *v1alpha1.CheckpointTransfer, times *v1alpha1.CheckpointTimes, conditions ...metav1.Condition) error {
	base := t.DeepCopy()
	t.Status.Times = times
	for _, c := range conditions {
		c.ObservedGeneration = t.Generation
		meta.SetStatusCondition(&t.Status.Conditions, c)
	}
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, t, client.MergeFrom(base))); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return nil
}

func verdict(status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: v1alpha1.TransferComplete, Status: status, Reason: reason, Message: message}
}

// enter remembers an attendance and ends the others of that container: an older
// attempt's must not let go what this one is to keep frozen.
func (r *Thawer) enter(t *v1alpha1.CheckpointTransfer, cancel context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attended == nil {
		r.attended = map[types.UID]*attendance{}
	}
	for _, other := range r.attended {
		if other.pod == t.Spec.PodUID && other.container == t.Spec.Container {
			other.cancel()
		}
	}
	r.attended[t.UID] = &attendance{pod: t.Spec.PodUID, container: t.Spec.Container, cancel: cancel}
}

func (r *Thawer) attends(uid types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attended[uid] != nil
}

func (r *Thawer) leave(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.attended[uid]; a != nil {
		a.cancel()
		delete(r.attended, uid)
	}
}

// thaw is the attendance of one checkpoint.
type thaw struct {
	*Thawer
	transfer  *v1alpha1.CheckpointTransfer
	container *dump.Container
	watch     *dump.Watch

	begun, frozen, dumped, thawed time.Time

	onVolume string // which file of a volume is open for writing, if the manager asks
	volumes  error  // why that is not known

	keep  string            // why it is left to containerd to let the container go
	since time.Time         // files that changed then or later are newer than the memory
	early bool              // the container was let go before everything was packed
	stats *checkpoint.Stats // CRIU's
	told  chan struct{}     // closed when Frozen is written
}

// run follows the checkpoint to its end.
func (t *thaw) run(ctx context.Context) {
	for {
		step, err := t.watch.Next()
		now := time.Now()
		switch {
		case ctx.Err() != nil || errors.Is(err, os.ErrClosed):
			// The object goes, or another attempt has come. The watch is closed a moment
			// after that: what it still tells is the other's.
			return
		case err != nil:
			t.end(ctx, verdict(metav1.ConditionFalse, v1alpha1.TransferReasonFailed, err.Error()))
			return
		}
		switch step {
		case dump.Begun:
			t.begun = now
		case dump.Frozen:
			t.frozen = now
			t.tell(ctx)
			t.keep = t.mustKeep()
			if t.transfer.Spec.RefuseOpenVolumes {
				t.onVolume, t.volumes = dump.OpenOnVolumes(t.Proc, t.container.PID)
			}
		case dump.Dumped:
			t.dumped = now
			t.letGo(ctx)
			t.measure()
		case dump.Packed:
			if t.thawed.IsZero() {
				t.thawed = now
			}
			t.measure()
			t.end(ctx, t.judge())
			return
		case dump.Aborted:
			t.release(ctx)
			t.end(ctx, verdict(metav1.ConditionFalse, v1alpha1.TransferReasonFailed, "containerd gave the checkpoint up"))
			return
		}
	}
}

// tell says that the container is frozen, beside the dump: RESUME is to lie in the
// receive buffer of the process when that goes on.
func (t *thaw) tell(ctx context.Context) {
	said := t.transfer.DeepCopy()
	t.told = make(chan struct{})
	go func() {
		defer close(t.told)
		if err := t.say(ctx, said, nil, frozen); err != nil && ctx.Err() == nil {
			// The source then goes on when the kubelet has answered.
			log.FromContext(ctx).Error(err, "say that the container is frozen")
		}
	}()
}

var frozen = metav1.Condition{Type: v1alpha1.TransferFrozen, Status: metav1.ConditionTrue, Reason: v1alpha1.TransferReasonDone}

// mustKeep says why the container must stay frozen until everything is packed;
// empty if it need not. It is asked while the container is frozen: what is found
// stays so until it goes on.
func (t *thaw) mustKeep() string {
	if t.transfer.Spec.KeepFrozen {
		return "as the manager wants it"
	}
	if t.container.Upper == "" {
		return "its writable layer is not known"
	}
	why, err := dump.Writes(t.Proc, t.container.PID)
	if err != nil {
		return err.Error()
	}
	return why
}

// letGo lets the container go on, if nothing speaks against it.
func (t *thaw) letGo(ctx context.Context) {
	if t.keep != "" {
		return
	}
	var err error
	if t.since, err = t.watch.Since(); err != nil {
		t.keep = err.Error()
		return
	}
	// From here on it may have gone on, whatever the answer is.
	t.early = true
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	if err := t.Containers.Resume(ctx, t.container.ID); err != nil {
		log.FromContext(ctx).Error(err, "let the container go on")
		return
	}
	t.thawed = time.Now()
}

// release lets a container go that containerd may have left frozen: when its client
// hangs up (the manager dies, or the kubelet does) it gives the checkpoint up, and what
// becomes of its own Resume, with the same cancelled context, is left to chance. It tries
// that before it removes the directory, so that this one does not interfere; of a
// container that runs it is refused, which does no harm.
func (t *thaw) release(ctx context.Context) {
	if !t.thawed.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	if err := t.Containers.Resume(ctx, t.container.ID); err != nil {
		log.FromContext(ctx).V(1).Info("containerd has let the container go by itself", "answer", err.Error())
		return
	}
	log.FromContext(ctx).Info("containerd gave the checkpoint up and left the container frozen: it was let go")
}

// measure takes CRIU's own statistics as soon as they can be had.
func (t *thaw) measure() {
	if t.stats != nil {
		return
	}
	if data, err := t.watch.Statistics(); err == nil {
		t.stats, _ = checkpoint.ParseStats(data) // cut off: CRIU is still writing
	}
}

// judge says whether the checkpoint can be restored beside its volumes, and whether
// the writable layer is of the same moment as the memory.
func (t *thaw) judge() metav1.Condition {
	switch {
	case t.volumes != nil:
		return verdict(metav1.ConditionFalse, v1alpha1.TransferReasonFailed, fmt.Sprintf("look for open files of volumes: %v", t.volumes))
	case t.onVolume != "":
		return verdict(metav1.ConditionFalse, v1alpha1.TransferReasonVolumeOpen, t.onVolume+": CRIU restores no file whose size has changed, and the source goes on with the volume")
	}
	if !t.early {
		return verdict(metav1.ConditionTrue, v1alpha1.TransferReasonDone, "the container was kept frozen until everything was packed: "+t.keep)
	}
	changed, err := dump.Changed(t.container.Upper, t.since)
	switch now := time.Now(); {
	case err != nil:
		return verdict(metav1.ConditionFalse, v1alpha1.TransferReasonFailed, fmt.Sprintf("look for changes of the writable layer: %v", err))
	case changed != "":
		return verdict(metav1.ConditionFalse, v1alpha1.TransferReasonChanged, changed+" was changed after the memory was dumped and before the writable layer was packed")
	case now.Round(0).Sub(t.dumped.Round(0)) < now.Sub(t.dumped)-time.Millisecond:
		// Times of files could lie in the past.
		return verdict(metav1.ConditionFalse, v1alpha1.TransferReasonChanged, "the clock was set back meanwhile: whether the writable layer was changed is not known")
	}
	return verdict(metav1.ConditionTrue, v1alpha1.TransferReasonDone, "the container was let go when CRIU had dumped it; its writable layer did not change")
}

// end writes what came of it.
func (t *thaw) end(ctx context.Context, c metav1.Condition) {
	said := []metav1.Condition{c}
	var times *v1alpha1.CheckpointTimes
	if t.told != nil {
		<-t.told
		said = append(said, frozen)
	}
	if t.stats != nil && !t.thawed.IsZero() {
		times = parts(t.begun, t.frozen, t.dumped, t.thawed, *t.stats)
	}
	log.FromContext(ctx).Info("checkpoint attended", "early", t.early, "complete", c.Status, "reason", c.Reason, "message", c.Message)
	if err := t.say(ctx, t.transfer, times, said...); err != nil && ctx.Err() == nil {
		// The manager does without the checkpoint, then.
		log.FromContext(ctx).Error(err, "say how the checkpoint went")
	}
}

// parts are the parts of a checkpoint. On a node that is at its limit the agent learns late
// of CRIU's first step; CRIU's own figures say by when it must have been at work.
func parts(begun, frozen, dumped, thawed time.Time, criu checkpoint.Stats) *v1alpha1.CheckpointTimes {
	if latest := dumped.Add(-criu.Freezing - criu.Frozen); frozen.After(latest) {
		frozen = latest
	}
	if frozen.Before(begun) {
		frozen = begun
	}
	return &v1alpha1.CheckpointTimes{
		BeginMillis: frozen.Sub(begun).Milliseconds(), DumpMillis: dumped.Sub(frozen).Milliseconds(),
		FreezingMillis: criu.Freezing.Milliseconds(), FrozenMillis: criu.Frozen.Milliseconds(),
		ThawMillis: thawed.Sub(dumped).Milliseconds(),
	}
}
