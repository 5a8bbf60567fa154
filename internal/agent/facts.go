package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/nodefacts"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// factsInterval is between two looks at the node, and so the least between two writes.
	factsInterval = 30 * time.Second
	// factsRetry is after a write that failed.
	factsRetry = 5 * time.Second
	// factsTimeout bounds one look and one write.
	factsTimeout = 20 * time.Second
	// noticeable is the part by which free bytes must differ to be written anew.
	noticeable = 0.05
)

// Annotator writes annotations of the agent's own pod.
type Annotator interface {
	Annotate(ctx context.Context, key, value string) error
}

// Facts keeps the node's facts on the agent's own pod.
type Facts struct {
	Pod   Annotator
	Clock clock.Clock
	// Gather looks at the node.
	Gather func(context.Context) (v1alpha1.NodeFacts, error)
	// Seen is told of each look; nil: nobody.
	Seen func(v1alpha1.NodeFacts)

	written *v1alpha1.NodeFacts
}

// Run writes the facts now, and again when they have changed noticeably, until ctx
// ends. A failure does not end the agent nor make it unready: what it can do, it
// can do without having said so.
func (f *Facts) Run(ctx context.Context) error {
	for {
		next := factsInterval
		if err := f.update(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "say what this node is", "again in", factsRetry.String())
			next = factsRetry
		}
		timer := f.Clock.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
	}
}

func (f *Facts) update(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	now, err := f.Gather(ctx)
	if err != nil {
		return err
	}
	if f.Seen != nil {
		f.Seen(now)
	}
	if f.written != nil && !changed(*f.written, now) {
		return nil
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := f.Pod.Annotate(ctx, v1alpha1.AnnotationNodeFacts, string(data)); err != nil {
		return fmt.Errorf("write the annotation %s: %w", v1alpha1.AnnotationNodeFacts, err)
	}
	f.written = &now
	return nil
}

// changed tells whether what is true now is worth writing after what was written.
func changed(was, now v1alpha1.NodeFacts) bool {
	return was.Kernel != now.Kernel || was.CRIU != now.CRIU || was.CPU != now.CPU || !slices.Equal(was.Features, now.Features) ||
		differ(was.ArchiveFreeBytes, now.ArchiveFreeBytes) || differ(was.StageFreeBytes, now.StageFreeBytes)
}

func differ(was, now int64) bool {
	d := now - was
	return float64(max(d, -d)) > noticeable*float64(was)
}

// Node is where facts are looked for.
type Node struct {
	// Archives is where the kubelet writes checkpoints, Stage where they are staged.
	Archives, Stage string
	// Proc is the procfs.
	Proc string
	// CRIU asks the node's CRIU for its version.
	CRIU func(context.Context) (string, error)
}

// Facts looks at the node. A CRIU that does not answer is a fact, too: the field
// stays empty.
func (n Node) Facts(ctx context.Context) (v1alpha1.NodeFacts, error) {
	var (
		f   v1alpha1.NodeFacts
		uts unix.Utsname
	)
	if err := unix.Uname(&uts); err != nil {
		return f, os.NewSyscallError("uname", err)
	}
	f.Kernel = unix.ByteSliceToString(uts.Release[:])
	f.CRIU, _ = n.CRIU(ctx) // the installer says why it does not answer
	info, err := os.ReadFile(n.Proc + "/cpuinfo")
	f.CPU, f.Features = nodefacts.CPUInfo(string(info))
	var archives, stage error
	f.ArchiveFreeBytes, archives = free(n.Archives)
	f.StageFreeBytes, stage = free(n.Stage)
	return f, errors.Join(err, archives, stage)
}

// free is what can be written below dir, in bytes.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// OwnPod is the pod that the agent runs in.
type OwnPod struct {
	Client          client.Client
	Namespace, Name string
}

// Annotate sets one annotation and leaves the others as they are.
func (p OwnPod) Annotate(ctx context.Context, key, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{key: value}}})
	if err != nil {
		return err
	}
	var pod corev1.Pod
	pod.Namespace, pod.Name = p.Namespace, p.Name
	return p.Client.Patch(ctx, &pod, client.RawPatch("application/merge-patch+json", patch))
}
