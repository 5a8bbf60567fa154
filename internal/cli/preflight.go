package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

const (
	// patience is how long a preflight waits for what may come up by itself.
	patience = 15 * time.Second
	// answer is how long the manager has to answer beyond that.
	answer = 30 * time.Second
	// removal is how long removing a preflight may take.
	removal = 10 * time.Second
)

// errMute is why a preflight has no result.
var errMute = errors.New("the manager does not answer: see whether it runs: kubectl get deployment -A -l " + labelName + "=" + managerName)

func (e *env) preflightCommand() *cobra.Command {
	var (
		a       asked
		timeout time.Duration
		output  outputFlag
	)
	cmd := &cobra.Command{
		Use:   "preflight POD",
		Short: "Tell whether a pod can be moved, and what is in the way",
		Long: `Tell whether a pod can be moved, and what is in the way.

The manager looks at everything that a migration needs, and nothing is moved: a
StatefulMigration with spec.dryRun is made, and removed again. The exit code is 1 if
the pod cannot be moved.`,
		Example:           e.examples("preflight counter", "preflight counter --to node-b", "preflight counter -o yaml"),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: once(e.completing(pods)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < time.Second || timeout/time.Second > math.MaxInt32 {
				return fmt.Errorf("--timeout is %v: at least 1s", timeout)
			}
			c, ns, err := e.open()
			if err != nil {
				return err
			}
			pod, err := podOf(cmd.Context(), c, ns, args[0])
			if err != nil {
				return err
			}
			m, err := a.request(cmd.Context(), c, pod)
			if err != nil {
				return err
			}
			m, err = e.examine(cmd.Context(), c, m, timeout)
			switch {
			case err != nil:
				return err
			case output.objects():
				err = output.print(m, e.scheme, e.Out)
			default:
				writePreflight(e.Out, m)
			}
			if err == nil && m.Status.Phase != v1alpha1.PhaseCompleted {
				err = failed("the pod %q cannot be moved now", pod.Name)
			}
			return err
		},
	}
	a.addWhere(e, cmd)
	a.addPod(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", patience, "how long to wait for what may come up by itself, like a broker that does not answer")
	output.add(cmd, "json", "yaml")
	return cmd
}

// examine has the manager look at a migration without beginning it.
func (e *env) examine(ctx context.Context, c client.WithWatch, m *migration, timeout time.Duration) (*migration, error) {
	m = m.DeepCopy()
	m.Name, m.GenerateName = "", "preflight-"
	m.Spec.DryRun = true
	m.Spec.Deadlines.PendingSeconds = int32(timeout / time.Second)
	if err := c.Create(ctx, m); err != nil {
		return nil, err
	}
	defer func() { // also when somebody has pressed Ctrl-C
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), removal)
		defer stop()
		if err := client.IgnoreNotFound(c.Delete(ctx, m)); err != nil {
			fmt.Fprintf(e.ErrOut, "warning: the preflight stays: kubectl delete statefulmigration -n %s %s (%v)\n", m.Namespace, m.Name, err)
		}
	}()
	waiting, stop := context.WithTimeoutCause(ctx, timeout+answer, errMute)
	defer stop()
	var last *migration
	err := e.follow(waiting, c, client.ObjectKeyFromObject(m), m.UID, func(now *migration) bool {
		last = now.DeepCopy()
		return ended(now)
	})
	return last, err
}

// writePreflight prints every check as a line.
func writePreflight(w io.Writer, m *migration) {
	t := table(w)
	row(t, "CHECK", "RESULT", "WHY NOT", "WHAT TO DO")
	for _, c := range m.Status.Preflight {
		switch c.Status {
		case metav1.ConditionTrue:
			row(t, c.Type, "ok", "", "")
		case metav1.ConditionFalse:
			row(t, c.Type, "NO: "+c.Reason, printable(c.Message), remedy(c.Reason))
		default:
			row(t, c.Type, "not checked", printable(c.Message), "")
		}
	}
	_ = t.Flush()
	reason, message := outcome(m)
	if m.Status.Phase == v1alpha1.PhaseCompleted {
		fmt.Fprintf(w, "\nThe pod %q can be moved from %s (%s).\n", m.Spec.SourcePod.Name, or(m.Status.OriginNode, "its node"), or(m.Status.Strategy, "Auto"))
		return
	}
	fmt.Fprintf(w, "\nThe pod %q cannot be moved: %s: %s\n", m.Spec.SourcePod.Name, reason, printable(message))
}
