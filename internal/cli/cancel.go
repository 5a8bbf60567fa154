package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

func (e *env) cancelCommand() *cobra.Command {
	var (
		wait    bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "cancel NAME...",
		Short: "Give a migration up",
		Long: `Give a migration up, by deleting its object.

Until the copy has written COMMIT the pod then goes on where it is, as if nothing had
happened. After that there is only forward: the migration ends, and its object goes
with it. One that has ended already is only removed.`,
		Example:           e.examples("cancel counter", "cancel counter --wait"),
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: e.completing(moves),
		RunE: func(cmd *cobra.Command, names []string) error {
			c, ns, err := e.open()
			if err != nil {
				return err
			}
			ctx, stop := limit(cmd.Context(), timeout)
			defer stop()
			for _, name := range names {
				if err := e.cancel(ctx, c, ns, name, wait); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has gone, and nothing of it is left")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: as long as it takes")
	return cmd
}

// errTime is why a context of limit ended.
var errTime = errors.New("the time (--timeout) is up")

// limit bounds a wait, if it is bounded.
func limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, errTime)
}

func (e *env) cancel(ctx context.Context, c client.WithWatch, ns, name string, wait bool) error {
	m, err := getMigration(ctx, c, ns, name)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.Out, cancelling(m))
	// By UID: one of the same name that somebody has made since is another's.
	if err := c.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
		return err
	}
	if !wait {
		return nil
	}
	last := m
	err = e.follow(ctx, c, client.ObjectKeyFromObject(m), m.UID, func(now *migration) bool { last = now; return false })
	switch {
	case !errors.Is(err, errGone):
		reason, message := outcome(last)
		return &exit{exitUnended, fmt.Errorf("%q is not gone yet (%w): %s, %s %s; it goes on by itself", name, err, phase(last), reason, message)}
	case committed(last) && !ended(m):
		fmt.Fprintf(e.Out, "%q is gone: the pod has moved to %s as %q\n", name, targetNode(last), last.Status.TargetPodName)
	default:
		fmt.Fprintf(e.Out, "%q is gone\n", name)
	}
	return nil
}

// cancelling says what deleting a migration means now.
func cancelling(m *migration) string {
	pod := m.Spec.SourcePod.Name
	switch {
	case m.Status.Phase == v1alpha1.PhaseCompleted && !m.Spec.DryRun:
		return fmt.Sprintf("%q had ended: the pod has moved to %s and stays there; the object is removed", m.Name, targetNode(m))
	case ended(m):
		return fmt.Sprintf("%q had ended: only its object is removed", m.Name)
	case committed(m):
		return fmt.Sprintf("%q is past COMMIT (%s): there is only forward; the pod moves to %s, then the object goes", m.Name, phase(m), targetNode(m))
	case m.Status.StartedAt == nil:
		return fmt.Sprintf("%q had not begun: the pod %q was not touched", m.Name, pod)
	case m.Status.Phase == v1alpha1.PhaseFinalizing:
		return fmt.Sprintf("%q is at the hand-over: unless the copy writes COMMIT first, the pod %q goes on on %s", m.Name, pod, m.Status.OriginNode)
	}
	return fmt.Sprintf("%q is given up in %s: the pod %q goes on on %s, as if nothing had happened", m.Name, phase(m), pod, m.Status.OriginNode)
}
