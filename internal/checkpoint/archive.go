// Package checkpoint reads the archives that the kubelet makes of running
// containers, packs them as OCI images and lays them out for a restore.
//
// An archive is a tar of CRIU's images (checkpoint/), the writable layer
// (rootfs-diff.tar) and descriptions of the container (spec.dump, config.dump).
// Nothing in it is trusted: names and types are judged entry by entry, and whose
// checkpoint it is must agree with what was asked for.
package checkpoint

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	metadata "github.com/checkpoint-restore/checkpointctl/lib"
	"github.com/checkpoint-restore/go-criu/v7/stats"
	"golang.org/x/sys/unix"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
)

// Bounds of what is read into memory, or counted, on behalf of an archive.
const (
	maxEntries     = 1 << 16
	maxDescription = 4 << 20
)

// Origin is the container that a checkpoint was taken of.
type Origin struct {
	Namespace string
	PodName   string
	// PodUID is empty where the runtime does not record it.
	PodUID    string
	Container string
}

// Archive is what an archive says of itself.
type Archive struct {
	Origin
	// Engine is the runtime handler that made it, for example io.containerd.runc.v2.
	Engine string
	// Frozen is how long CRIU stopped the process, by its own count; nil where
	// the archive has no statistics.
	Frozen *time.Duration
}

// Open opens the archive name in dir, which must be a regular file there.
func Open(dir, name string) (*os.File, error) {
	if name != filepath.Base(name) || !filepath.IsLocal(name) {
		return nil, fault.Final(v1alpha1.TransferReasonInvalidArchive, "archive %q is not the name of a file", name)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fault.Final(v1alpha1.TransferReasonInvalidArchive, "archive %s is a symbolic link", name)
	case errors.Is(err, os.ErrNotExist):
		return nil, fault.Final(v1alpha1.TransferReasonNotFound, "there is no archive %s on this node", name)
	case err != nil:
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fault.Final(v1alpha1.TransferReasonInvalidArchive, "archive %s is not a regular file", name)
	}
	return f, nil
}

// Inspect reads an archive to its end and returns what it says of itself.
// Passing a file spares reading the images: tar seeks over them.
func Inspect(r io.Reader) (*Archive, error) {
	return walk(r, func(*tar.Header, io.Reader) error { return nil })
}

// Check refuses an archive of another container than the wanted one. An empty
// field of want is not compared.
func (a *Archive) Check(want Origin) error {
	for _, c := range []struct{ what, got, want string }{
		{"namespace", a.Namespace, want.Namespace},
		{"pod", a.PodName, want.PodName},
		{"container", a.Container, want.Container},
	} {
		if c.want != "" && c.got != c.want {
			return invalid("it is of %s %q, not of %q", c.what, c.got, c.want)
		}
	}
	// CRI-O before 1.31 does not write the UID down, so its absence proves nothing.
	if a.PodUID != "" && want.PodUID != "" && a.PodUID != want.PodUID {
		return invalid("it is of another pod of that name: UID %s, not %s", a.PodUID, want.PodUID)
	}
	return nil
}

// walk judges every entry of an archive and shows its regular files to visit,
// which may leave a body unread.
func walk(r io.Reader, visit func(*tar.Header, io.Reader) error) (*Archive, error) {
	var (
		a       Archive
		entries = map[string]bool{}
		tr      = tar.NewReader(r)
	)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, readError(err)
		}
		name, err := entryName(hdr)
		if err != nil {
			return nil, err
		}
		if entries[name] || len(entries) == maxEntries {
			return nil, invalid("%q is in it twice, or it has more than %d entries", name, maxEntries)
		}
		entries[name] = true
		if hdr.Typeflag == tar.TypeDir {
			continue
		}
		hdr.Name = name
		if description := a.reader(name); description != nil {
			data, err := readDescription(hdr, tr)
			if err != nil {
				return nil, err
			}
			if err := description(data); err != nil {
				return nil, invalid("%s: %v", name, err)
			}
			continue
		}
		if err := visit(hdr, tr); err != nil {
			return nil, err
		}
	}
	if a.Namespace == "" || a.PodName == "" || a.Container == "" {
		return nil, invalid("%s does not say of which pod and container it is", metadata.SpecDumpFile)
	}
	return &a, nil
}

// entryName is the clean name of an entry that may be in an archive.
func entryName(hdr *tar.Header) (string, error) {
	name := path.Clean(hdr.Name)
	if !filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00") {
		return "", invalid("entry %q leads out of it", hdr.Name)
	}
	for part := range strings.SplitSeq(hdr.Name, "/") {
		if part == ".." {
			return "", invalid("entry %q leads out of it", hdr.Name)
		}
	}
	if hdr.Typeflag != tar.TypeReg && hdr.Typeflag != tar.TypeDir {
		return "", invalid("entry %q is neither a file nor a directory", hdr.Name)
	}
	for record := range hdr.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return "", invalid("entry %q is sparse: it may be of any size", hdr.Name)
		}
	}
	return name, nil
}

// reader is what understands the description of that name, if it is one.
func (a *Archive) reader(name string) func([]byte) error {
	switch name {
	case metadata.SpecDumpFile:
		return a.readSpec
	case metadata.ConfigDumpFile:
		return a.readConfig
	case stats.StatsDump:
		return a.readStats
	}
	return nil
}

func readDescription(hdr *tar.Header, r io.Reader) ([]byte, error) {
	if hdr.Size > maxDescription {
		return nil, invalid("%s has %d bytes, more than %d", hdr.Name, hdr.Size, maxDescription)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return nil, readError(err)
	}
	return b.Bytes(), nil
}

// readSpec finds the container's owner in its OCI configuration; containerd and
// CRI-O each have their own names for it.
func (a *Archive) readSpec(data []byte) error {
	var spec metadata.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	first := func(keys ...string) string {
		for _, k := range keys {
			if v := spec.Annotations[k]; v != "" {
				return v
			}
		}
		return ""
	}
	a.Origin = Origin{
		Namespace: first("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"),
		PodName:   first("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"),
		PodUID:    first("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"),
		Container: first("io.kubernetes.cri.container-name", "io.kubernetes.container.name"),
	}
	return nil
}

func (a *Archive) readConfig(data []byte) error {
	var config metadata.ContainerConfig
	err := json.Unmarshal(data, &config)
	a.Engine = config.OCIRuntime
	return err
}

func invalid(format string, args ...any) error {
	return fault.Final(v1alpha1.TransferReasonInvalidArchive, "checkpoint archive: "+format, args...)
}

// readError tells a broken tar from a broken source of it.
func readError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("%w", err)
	}
	return fmt.Errorf("read checkpoint archive: %w", err)
}
