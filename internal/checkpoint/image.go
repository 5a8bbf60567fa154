package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	metadata "github.com/checkpoint-restore/checkpointctl/lib"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
)

// Annotations of a checkpoint's manifest. containerd up to 2.3 restores an image
// that has the first, CRI-O one that has the second: both are kept, so that the
// artefact can be restored by those runtimes alone, too.
const (
	annotationContainerd = metadata.CheckpointAnnotationName
	annotationCRIO       = "io.kubernetes.cri-o.annotations.checkpoint.name"

	// AnnotationMigration is the UID of the migration that the checkpoint is of.
	AnnotationMigration = v1alpha1.AnnotationMigration
	// AnnotationNode is the node that it was taken on.
	AnnotationNode = "migration.ms2m.dev/source-node"
)

// Label is what an image says of the checkpoint in it.
type Label struct {
	Origin
	MigrationUID string
	Node         string
}

// packedType and level are how an archive travels. Measured on memory of an API
// server, a kubelet and a broker, zstd at its fastest packs 0.2 to 0.5 GB/s a core
// to a sixth or a tenth of the size (gzip: half as fast, a quarter larger); what it
// saves is pushed, stored, pulled and pushed again after a crash. Noise travels as
// plainType. Both runtimes named above read either.
const (
	packedType = types.OCILayerZStd
	plainType  = types.OCIUncompressedLayer
	level      = zstd.SpeedFastest
)

// maxWindow is what unpacking may need in memory; a frame of ours has blockSize.
const maxWindow = 8 << 20

// Image is an archive packed as an OCI image. The same archive and label make the
// same digest, whenever and wherever it is done.
type Image struct {
	v1.Image
	// ArchiveBytes is the size of the archive.
	ArchiveBytes int64
}

// Pack makes an image of one layer, which is the archive of that size. The bytes are
// packed while they are pushed, and read again for each attempt; only then does the
// image know its digest.
func Pack(archive io.ReaderAt, size int64, label Label) (*Image, error) {
	layer, err := newLayer(archive, size)
	if err != nil {
		return nil, fmt.Errorf("pack checkpoint: %w", err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		RootFS:       v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, fmt.Errorf("pack checkpoint: %w", err)
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return nil, fmt.Errorf("pack checkpoint: %w", err)
	}
	img = mutate.Annotations(img, map[string]string{
		annotationContainerd:                   label.Container,
		annotationCRIO:                         label.Container,
		metadata.CheckpointAnnotationNamespace: label.Namespace,
		metadata.CheckpointAnnotationPod:       label.PodName,
		metadata.CheckpointAnnotationPodUID:    label.PodUID,
		AnnotationMigration:                    label.MigrationUID,
		AnnotationNode:                         label.Node,
	}).(v1.Image)
	return &Image{Image: img, ArchiveBytes: size}, nil
}

// Contents is the archive in an image that Pack made for this migration. Its
// reader fails at the end if the bytes are not those of the image's digest.
func Contents(img v1.Image, migrationUID string) (io.ReadCloser, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if got := manifest.Annotations[AnnotationMigration]; got != migrationUID {
		return nil, fault.Final(v1alpha1.TransferReasonInvalidArchive,
			"the image is of migration %q, not of %q", got, migrationUID)
	}
	if len(manifest.Layers) != 1 || !slices.Contains([]types.MediaType{packedType, plainType}, manifest.Layers[0].MediaType) {
		return nil, fault.Final(v1alpha1.TransferReasonInvalidArchive,
			"the image is no checkpoint: it does not have one layer of type %s or %s", packedType, plainType)
	}
	layer, err := img.LayerByDigest(manifest.Layers[0].Digest)
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	remote, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	packed := readAhead(remote)
	if manifest.Layers[0].MediaType == plainType {
		return packed, nil
	}
	plain, err := zstd.NewReader(packed, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", errors.Join(err, packed.Close()))
	}
	return &contents{Decoder: plain, packed: packed}, nil
}

// contents closes what it reads from. The decoder looks for another frame behind
// the last and so reads to the end, where the digest is compared.
type contents struct {
	*zstd.Decoder
	packed io.Closer
}

// Close implements io.Closer.
func (c *contents) Close() error {
	c.Decoder.Close()
	return c.packed.Close()
}
