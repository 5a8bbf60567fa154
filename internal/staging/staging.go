// Package staging is the directory of a node in which the agent lays a
// checkpoint out for the shim, and from which the shim takes it, once:
//
//	restore/<pod UID>/<container>.partial-<random>   being written by the agent
//	restore/<pod UID>/<container>/                   complete, renamed into place
//	restore/<pod UID>/<container>.used-<id>/         taken for the container <id>
//	restore/<pod UID>/<container>.withdrawn          nothing will be staged: do not wait
//	fetched/<migration UID>-<digest>.partial-<…>     being written by the agent
//	fetched/<migration UID>-<digest>/                complete, for a pod that is not there yet
//	log/<pod UID>/<container>-restore.log            what CRIU said
//
// Each step from one state to the next is a rename, so that neither of the two
// programs ever sees half of what the other does, whenever either is killed.
// A container's name is a DNS label, so it holds none of the dots by which the
// states are told apart.
package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Root is where the area lies on every node.
const Root = "/var/lib/ms2m"

// Names within a staged checkpoint.
const (
	// RecordFile says what the checkpoint is and for whom.
	RecordFile = "restore.json"
	// ImagesDir holds CRIU's images.
	ImagesDir = "checkpoint"
	// RootfsDiff is the writable layer of the source.
	RootfsDiff = "rootfs-diff.tar"
)

const (
	partialInfix    = ".partial-"
	usedInfix       = ".used-"
	withdrawnSuffix = ".withdrawn"
)

// Record is restore.json: what is staged and for whom.
type Record struct {
	// MigrationUID is the migration that this checkpoint was made for.
	MigrationUID string `json:"migrationUID"`
	// Namespace, PodName, PodUID and Container are the only taker.
	Namespace string `json:"namespace"`
	PodName   string `json:"podName"`
	PodUID    string `json:"podUID"`
	Container string `json:"container"`
	// Image is where the checkpoint came from, repository@digest.
	Image string `json:"image"`
	// Files are all staged files by their slash-separated path.
	Files map[string]File `json:"files"`
}

// Same tells whether both are the same checkpoint for the same taker.
func (r Record) Same(o Record) bool {
	return r.MigrationUID == o.MigrationUID && r.Namespace == o.Namespace && r.PodName == o.PodName &&
		r.PodUID == o.PodUID && r.Container == o.Container && r.Image == o.Image
}

// Slot is the place of one container of one pod.
type Slot struct {
	PodUID    string
	Container string
}

// A pod's UID and a container's name become names of files, so both are held to
// what Kubernetes itself allows and neither can lead out of the directory.
var (
	podUID    = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]{0,62}[a-zA-Z0-9])?$`)
	container = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
)

// Validate refuses a slot that is no name of a file.
func (s Slot) Validate() error {
	if !podUID.MatchString(s.PodUID) {
		return fmt.Errorf("%q is not a pod's UID", s.PodUID)
	}
	if !container.MatchString(s.Container) {
		return fmt.Errorf("%q is not a container's name", s.Container)
	}
	return nil
}

// Area is the directory on one node.
type Area struct{ root string }

// At is the area below root.
func At(root string) Area { return Area{root: root} }

func (a Area) restore() string               { return filepath.Join(a.root, "restore") }
func (a Area) logs() string                  { return filepath.Join(a.root, "log") }
func (a Area) podDir(s Slot) string          { return filepath.Join(a.restore(), s.PodUID) }
func (a Area) staged(s Slot) string          { return filepath.Join(a.podDir(s), s.Container) }
func (a Area) used(s Slot, id string) string { return a.staged(s) + usedInfix + id }

// Prepare makes the area, which is for root alone.
func (a Area) Prepare() error {
	if err := os.MkdirAll(a.root, 0o700); err != nil {
		return err
	}
	// Whoever mounted it may have made it for everybody.
	return os.Chmod(a.root, 0o700)
}

func (a Area) withdrawn(s Slot) string { return a.staged(s) + withdrawnSuffix }

// LogPath is where CRIU's restore log of a container is kept.
func (a Area) LogPath(s Slot) string {
	return filepath.Join(a.logs(), s.PodUID, s.Container+"-restore.log")
}

// Begin makes an empty directory in which a checkpoint for s can be put together.
func (a Area) Begin(s Slot) (*Draft, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.podDir(s), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(a.withdrawn(s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	dir, err := os.MkdirTemp(a.podDir(s), s.Container+partialInfix)
	if err != nil {
		return nil, err
	}
	return &Draft{Dir: dir, staged: a.staged(s)}, nil
}

// Draft is a checkpoint that is not complete yet.
type Draft struct {
	// Dir is where its files go.
	Dir    string
	staged string
}

// Commit writes the record and puts the draft into place for the shim. The
// contents are not forced to the disk: what a crash of the node tears, the shim's
// check of the digests refuses, and the target pod has gone with its node anyway.
func (d *Draft) Commit(r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.Dir, RecordFile), data, 0o600); err != nil {
		return err
	}
	err = os.Rename(d.Dir, d.staged)
	if errors.Is(err, fs.ErrExist) {
		// Another attempt was faster; its copy is as good if it is the same.
		if there, rerr := readRecord(d.staged); rerr == nil && there.Same(r) {
			return d.Discard()
		}
	}
	return err
}

// Discard removes the draft, unless it was committed.
func (d *Draft) Discard() error { return os.RemoveAll(d.Dir) }

// Staged reads the record of what waits in s; fs.ErrNotExist if nothing does.
func (a Area) Staged(s Slot) (Record, error) {
	if err := s.Validate(); err != nil {
		return Record{}, err
	}
	return readRecord(a.staged(s))
}

// Used returns the records of what was taken for s, if anything was. A mark
// whose record can't be read is a mark none the less.
func (a Area) Used(s Slot) ([]Record, error) {
	dirs, err := a.entries(s, usedInfix)
	used := make([]Record, len(dirs))
	for i, dir := range dirs {
		used[i], _ = readRecord(dir)
	}
	return used, err
}

// Take claims what is staged in s for the container id and returns where it now
// is. The rename comes before any use, so that no second start can have it.
func (a Area) Take(s Slot, id string) (string, error) {
	if err := s.Validate(); err != nil {
		return "", err
	}
	used := a.used(s, id)
	return used, os.Rename(a.staged(s), used)
}

// Remove removes what is staged for s and not taken, and what was left half
// done. The marks of what was taken stay: they keep the shim from waiting again.
// So does the pod's directory, which a waiting shim watches.
func (a Area) Remove(s Slot) error {
	partial, err := a.entries(s, partialInfix)
	if err != nil {
		return err
	}
	errs := []error{os.RemoveAll(a.staged(s))}
	for _, dir := range partial {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// Withdraw does what Remove does and lets a start that waits give up: its pod
// can't be deleted before that.
func (a Area) Withdraw(s Slot) error {
	if err := a.Remove(s); err != nil {
		return err
	}
	if used, err := a.Used(s); err != nil || len(used) > 0 {
		return err // nobody waits any more
	}
	if err := os.MkdirAll(a.podDir(s), 0o700); err != nil {
		return err
	}
	return os.WriteFile(a.withdrawn(s), nil, 0o600)
}

// entries are the directories of s in the state that infix stands for.
func (a Area) entries(s Slot, infix string) ([]string, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(a.podDir(s))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), s.Container+infix) {
			found = append(found, filepath.Join(a.podDir(s), e.Name()))
		}
	}
	return found, nil
}

func readRecord(dir string) (Record, error) {
	data, err := os.ReadFile(filepath.Join(dir, RecordFile))
	if err != nil {
		return Record{}, err
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("read %s: %w", RecordFile, err)
	}
	return r, nil
}
