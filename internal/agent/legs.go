package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/checkpoint"
	"ms2m.dev/ms2m/internal/fault"
	"ms2m.dev/ms2m/internal/registry"
	"ms2m.dev/ms2m/internal/staging"
)

// push packs the archive of the source pod and writes it to the repository.
func (r *Reconciler) push(ctx context.Context, t *v1alpha1.CheckpointTransfer) error {
	file, err := checkpoint.Open(r.Archives, t.Spec.Archive)
	if err != nil {
		return err
	}
	defer file.Close()
	// A cancelled leg does not read an archive of gigabytes to its end.
	defer context.AfterFunc(ctx, func() { file.Close() })()
	archive, err := checkpoint.Inspect(file)
	if err != nil {
		return err
	}
	source := origin(t)
	if err := archive.Check(source); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	img, err := checkpoint.Pack(file, info.Size(),
		checkpoint.Label{Origin: source, MigrationUID: string(t.Spec.MigrationUID), Node: r.Node})
	if err != nil {
		return err
	}
	// The tag names the attempt only so that the registry keeps the manifest.
	tag := fmt.Sprintf("%s-%d", t.Spec.MigrationUID, t.Spec.Attempt)
	ref, err := r.Registry.Push(registry.Throttle(ctx, t.Spec.BytesPerSecond), t.Spec.Repository, tag, img)
	if err != nil {
		return err
	}
	if t.Status.Image, err = describe(img, ref); err != nil {
		return err
	}
	r.Observer.Pushed(t.Status.Image.SizeBytes)
	if archive.Frozen != nil {
		t.Status.FreezeMillis = new(archive.Frozen.Milliseconds())
	}
	return nil
}

// describe is what the status says of a pushed image.
func describe(img *checkpoint.Image, ref string) (*v1alpha1.CheckpointImage, error) {
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	size, err := sizeOf(img)
	if err != nil {
		return nil, err
	}
	return &v1alpha1.CheckpointImage{
		Reference:    ref,
		Digest:       digest.String(),
		SizeBytes:    size,
		ArchiveBytes: img.ArchiveBytes,
	}, nil
}

// sizeOf is the size of an image in its repository.
func sizeOf(img v1.Image) (int64, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return 0, err
	}
	size, err := img.Size()
	if err != nil {
		return 0, err
	}
	size += manifest.Config.Size
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	return size, nil
}

// fetch pulls a checkpoint for a pod that is not there yet.
func (r *Reconciler) fetch(ctx context.Context, t *v1alpha1.CheckpointTransfer) error {
	want := fetchRecord(t)
	if _, err := r.Area.Fetched(want); err == nil {
		return nil
	}
	draft, err := r.Area.BeginFetch(want)
	if err != nil {
		return err
	}
	defer draft.Discard()
	if want.Files, err = r.pull(ctx, t, origin(t), draft.Dir); err != nil {
		return err
	}
	return draft.Commit(want)
}

// stage lays a checkpoint out for the shim of the target pod: what was fetched
// before, or what is pulled now.
func (r *Reconciler) stage(ctx context.Context, t *v1alpha1.CheckpointTransfer) error {
	if t.Spec.Image == "" {
		// It was made to be deleted: so that a target stops waiting for what will not come.
		return fault.Final(v1alpha1.TransferReasonNotFound, "the leg names no image")
	}
	want, slot := record(t), slotOf(t)
	if done, err := r.stagedBefore(slot, want); done || err != nil {
		return err
	}
	draft, err := r.Area.Begin(slot)
	if err != nil {
		return err
	}
	defer draft.Discard()
	if want.Files, err = r.Area.TakeFetched(want, draft); err != nil {
		// The target has a name and a UID of its own; namespace and container it
		// shares with the source.
		want.Files, err = r.pull(ctx, t, checkpoint.Origin{Namespace: t.Namespace, Container: t.Spec.Container}, draft.Dir)
	}
	if err != nil {
		return err
	}
	return draft.Commit(want)
}

// pull lays out in dir what the image of t has of a restore, if it is of t's
// migration and of that origin.
func (r *Reconciler) pull(ctx context.Context, t *v1alpha1.CheckpointTransfer, of checkpoint.Origin, dir string) (map[string]staging.File, error) {
	img, err := r.Registry.Pull(registry.Throttle(ctx, t.Spec.BytesPerSecond), t.Spec.Image)
	if err != nil {
		return nil, err
	}
	contents, err := checkpoint.Contents(img, string(t.Spec.MigrationUID))
	if err != nil {
		return nil, registry.Error(err)
	}
	defer contents.Close()
	archive, files, err := checkpoint.Unpack(pulled{contents}, dir)
	if err != nil {
		return nil, err
	}
	bytes, err := sizeOf(img)
	if err != nil {
		return nil, registry.Error(err)
	}
	r.Observer.Pulled(bytes)
	return files, archive.Check(of)
}

// stagedBefore tells whether this very checkpoint is in place or was taken from
// there, and makes room if another is.
func (r *Reconciler) stagedBefore(slot staging.Slot, want staging.Record) (bool, error) {
	used, err := r.Area.Used(slot)
	if err != nil {
		return false, err
	}
	for _, u := range used {
		if u.Same(want) {
			return true, nil
		}
	}
	if len(used) > 0 {
		return false, fault.Final(v1alpha1.TransferReasonFailed, "a checkpoint was restored into this pod before")
	}
	if there, err := r.Area.Staged(slot); err == nil && there.Same(want) {
		return true, nil
	}
	return false, r.Area.Remove(slot)
}

// sweep removes every archive of the pod's container.
func (r *Reconciler) sweep(t *v1alpha1.CheckpointTransfer) error {
	return r.removeArchives(t, func(string) bool { return true })
}

// pulled classifies the errors of a layer that is being fetched.
type pulled struct{ layer io.Reader }

func (p pulled) Read(b []byte) (int, error) {
	n, err := p.layer.Read(b)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, registry.Error(err)
}

func origin(t *v1alpha1.CheckpointTransfer) checkpoint.Origin {
	return checkpoint.Origin{
		Namespace: t.Namespace,
		PodName:   t.Spec.PodName,
		PodUID:    string(t.Spec.PodUID),
		Container: t.Spec.Container,
	}
}

func slotOf(t *v1alpha1.CheckpointTransfer) staging.Slot {
	return staging.Slot{PodUID: string(t.Spec.PodUID), Container: t.Spec.Container}
}

func record(t *v1alpha1.CheckpointTransfer) staging.Record {
	return staging.Record{
		MigrationUID: string(t.Spec.MigrationUID),
		Namespace:    t.Namespace,
		PodName:      t.Spec.PodName,
		PodUID:       string(t.Spec.PodUID),
		Container:    t.Spec.Container,
		Image:        t.Spec.Image,
	}
}

// fetchRecord is the record of a checkpoint that no pod has a claim to yet.
func fetchRecord(t *v1alpha1.CheckpointTransfer) staging.Record {
	r := record(t)
	r.PodName, r.PodUID = "", ""
	return r
}
