package harness

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// smallDisk puts a file system of so many bytes over a directory of a machine.
// What has opened that directory before goes on with the old one.
func (l *Lab) smallDisk(ctx context.Context, machine, dir string, bytes int) (Undo, error) {
	return l.run(ctx, machine,
		[]string{"mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0700", bytes), "small", dir},
		[]string{"umount", "--lazy", dir})
}

// SmallDisk puts a file system of so many bytes over a directory of a node, and
// waits until the node's agent has said how much is free there.
func (l *Lab) SmallDisk(ctx context.Context, node, dir string, bytes int) (Undo, error) {
	unmount, err := l.smallDisk(ctx, node, dir, bytes)
	if err == nil {
		err = l.restartAgent(ctx, node)
	}
	return func(ctx context.Context) error {
		return errors.Join(unmount(ctx), l.restartAgent(ctx, node))
	}, err
}

// FillDisk takes so many bytes of the file system over a directory of a machine.
func (l *Lab) FillDisk(ctx context.Context, machine, dir string, bytes int) error {
	_, err := l.Exec(ctx, machine, "fallocate", "--length", fmt.Sprint(bytes), dir+"/.fill")
	return err
}

// restartAgent has a new pod made for the agent of a node, which sees what was
// mounted there meanwhile, and waits for what that says of the node.
func (l *Lab) restartAgent(ctx context.Context, node string) error {
	old, err := l.AgentPod(ctx, node)
	if err != nil {
		return err
	}
	if err := l.Client.Delete(ctx, old, client.GracePeriodSeconds(1)); err != nil {
		return err
	}
	if err := Gone(ctx, l, old, &corev1.PodList{}); err != nil {
		return err
	}
	if err := l.rolledOut(ctx); err != nil {
		return err
	}
	fresh, err := l.AgentPod(ctx, node)
	if err != nil {
		return err
	}
	return Until(ctx, l, fresh, &corev1.PodList{}, func(p *corev1.Pod) (bool, error) {
		if p == nil || p.UID != fresh.UID {
			return false, fmt.Errorf("the agent %s is gone", fresh.Name)
		}
		return p.Annotations[v1alpha1.AnnotationNodeFacts] != "", nil
	})
}
