package shim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/runc"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/log"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"ms2m.dev/ms2m/internal/staging"
)

// restore is one checkpoint on its way into one container.
type restore struct {
	spec   *specs.Spec
	bundle string
	dir    string // where the checkpoint was taken to
	image  string // that it came from
	log    string // where CRIU's log is kept
}

func (re *restore) images() string { return filepath.Join(re.dir, staging.ImagesDir) }

// applyRootfsDiff writes the source's writable layer onto the mounted root file
// system. The pod's volumes are not mounted yet, so nothing of it lands in them.
func (re *restore) applyRootfsDiff(ctx context.Context) error {
	f, err := os.Open(filepath.Join(re.dir, staging.RootfsDiff))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// containerd stores the layer with gzip, whatever the name says.
	r, err := compression.DecompressStream(f)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = archive.Apply(ctx, filepath.Join(re.bundle, "rootfs"), r)
	return err
}

// rename gives the container the name of its own pod: CRIU has set the one that
// the source had.
func (re *restore) rename(ctx context.Context, pid int) {
	name := hostname(re.spec)
	if name == "" {
		return
	}
	// The process runs already: a wrong name is no reason to take it away again.
	if err := setHostname(pid, name); err != nil {
		log.G(ctx).WithError(err).WithField("hostname", name).Error("ms2m: set the pod's own host name")
	}
}

// dropFiles removes the bulk of a checkpoint and keeps its record, by which the
// next start knows that it is not the first.
func (re *restore) dropFiles(ctx context.Context) {
	for _, name := range []string{staging.ImagesDir, staging.RootfsDiff} {
		if err := os.RemoveAll(filepath.Join(re.dir, name)); err != nil {
			log.G(ctx).WithError(err).Warn("ms2m: remove a used checkpoint")
		}
	}
}

// criuLog is where CRIU logs the restore: the bundle's work directory, unless
// the handler's options name another.
func (re *restore) criuLog() string {
	work := filepath.Join(re.bundle, "work")
	if o, err := runc.ReadOptions(re.bundle); err == nil && o != nil && o.CriuWorkPath != "" {
		work = o.CriuWorkPath
	}
	return filepath.Join(work, "restore.log")
}

// keepLog saves CRIU's log, which vanishes with the bundle, and returns what it
// names as the cause of a failure, ready to stand before another error.
func (re *restore) keepLog(ctx context.Context) string {
	data, err := os.ReadFile(re.criuLog())
	if err != nil {
		re.writeLog(ctx, fmt.Errorf("CRIU left no log: %w", err))
		return ""
	}
	re.save(ctx, data)
	if cause := decisive(string(data)); cause != "" {
		return "CRIU: " + cause + ": "
	}
	return ""
}

// writeLog keeps the reason of a restore that CRIU was not even asked for.
func (re *restore) writeLog(ctx context.Context, reason error) {
	re.save(ctx, []byte("ms2m: "+reason.Error()+"\n"))
}

func (re *restore) save(ctx context.Context, data []byte) {
	err := os.MkdirAll(filepath.Dir(re.log), 0o700)
	if err == nil {
		err = os.WriteFile(re.log, data, 0o600)
	}
	if err != nil {
		log.G(ctx).WithError(err).Warn("ms2m: keep the restore log")
	}
}

// maxDecisive bounds the lines of CRIU that go into an error: the first names the
// cause, those after it what followed from it.
const maxDecisive = 3

// decisive returns CRIU's first error lines, without time and place.
func decisive(criuLog string) string {
	var lines []string
	for s := bufio.NewScanner(strings.NewReader(criuLog)); s.Scan() && len(lines) < maxDecisive; {
		_, rest, found := strings.Cut(s.Text(), "Error (")
		if !found {
			continue
		}
		if _, text, ok := strings.Cut(rest, "): "); ok {
			lines = append(lines, strings.TrimSpace(text))
		}
	}
	return strings.Join(lines, "; ")
}
