package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/staging"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// tidy removes the archive of a push that has ended, well or not: it holds every
// secret of the process, and nothing will read it again.
func (r *Reconciler) tidy(t *v1alpha1.CheckpointTransfer) error {
	if t.Spec.Direction != v1alpha1.TransferPush {
		return nil
	}
	return r.removeArchives(t, func(name string) bool { return name == t.Spec.Archive })
}

// finalize removes what a leg has left on this node and lets its object go.
func (r *Reconciler) finalize(ctx context.Context, t *v1alpha1.CheckpointTransfer) error {
	base := t.DeepCopy()
	if !controllerutil.RemoveFinalizer(t, v1alpha1.FinalizerTransfer) {
		return nil
	}
	if err := r.tidy(t); err != nil {
		return fmt.Errorf("remove the archive: %w", err)
	}
	switch t.Spec.Direction {
	case v1alpha1.TransferFetch:
		if err := r.Area.RemoveFetched(fetchRecord(t)); err != nil {
			return fmt.Errorf("remove the fetched checkpoint: %w", err)
		}
	case v1alpha1.TransferStage:
		if err := r.unstage(t); err != nil {
			return fmt.Errorf("remove the staged checkpoint: %w", err)
		}
	}
	return client.IgnoreNotFound(r.Client.Patch(ctx, t, onTopOf(base)))
}

// unstage removes the staged checkpoint of t, unless another's lies there, and
// lets the target give up waiting for it.
func (r *Reconciler) unstage(t *v1alpha1.CheckpointTransfer) error {
	slot := slotOf(t)
	if slot.Validate() != nil {
		return nil // nothing can have been staged
	}
	if there, err := r.Area.Staged(slot); err == nil && !there.Same(record(t)) {
		return nil
	}
	return r.Area.Withdraw(slot)
}

// removeArchives removes the archives of t's pod and container that match.
func (r *Reconciler) removeArchives(t *v1alpha1.CheckpointTransfer, match func(name string) bool) error {
	entries, err := os.ReadDir(r.Archives)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !match(e.Name()) || !r.owns(t, e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(r.Archives, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// owns tells whether an archive is of t's pod and container: it has the name that
// the kubelet gives such archives, and its contents do not say otherwise. The name
// alone is ambiguous: namespace and container in it are joined by a hyphen, which
// both may hold. An archive that can't be read to its end was cut off by a full
// disk or a crash and has only its name.
func (r *Reconciler) owns(t *v1alpha1.CheckpointTransfer, name string) bool {
	prefix := fmt.Sprintf("checkpoint-%s_%s-%s-", t.Spec.PodName, t.Namespace, t.Spec.Container)
	if !strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, ".tar") {
		return false
	}
	file, err := checkpoint.Open(r.Archives, name)
	if err != nil {
		return false
	}
	defer file.Close()
	archive, err := checkpoint.Inspect(file)
	if err != nil {
		return fault.Of(err).Reason == v1alpha1.TransferReasonInvalidArchive
	}
	return archive.Check(origin(t)) == nil
}

// Sweep removes what is kept for pods that are neither on this node any more nor
// waited for by a transfer, and what was fetched for a transfer that is gone.
func (r *Reconciler) Sweep(ctx context.Context) error {
	if !r.podExists(r.PodUID) {
		// The kubelet's directory is not where it is looked for, or can't be read.
		return fmt.Errorf("%s does not show the pod of the agent itself", r.Pods)
	}
	// Before the list: what is fetched from now on is for transfers that may not be in it.
	fetched, err := r.Area.FetchedNames()
	if err != nil {
		return err
	}
	var transfers v1alpha1.CheckpointTransferList
	if err := r.Client.List(ctx, &transfers); err != nil {
		return err
	}
	awaited := map[string]bool{}
	var wanted []staging.Record
	for _, t := range transfers.Items {
		switch t.Spec.Direction {
		case v1alpha1.TransferStage:
			// Of no other leg: a pod that was restored here and is a source now leaves
			// while legs of its own stand, and nothing follows by which it would be swept.
			awaited[string(t.Spec.PodUID)] = t.DeletionTimestamp == nil
		case v1alpha1.TransferFetch:
			wanted = append(wanted, fetchRecord(&t))
		}
	}
	return errors.Join(
		r.Area.Sweep(func(uid string) bool { return awaited[uid] || r.podExists(uid) }),
		r.Area.SweepFetched(fetched, wanted),
	)
}

func (r *Reconciler) podExists(uid string) bool {
	_, err := os.Lstat(filepath.Join(r.Pods, uid))
	return uid != "" && err == nil
}
