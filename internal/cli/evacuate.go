package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// evacuation are the flags of evacuate.
type evacuation struct {
	asked    asked
	dryRun   string
	wait     bool
	goOn     bool
	uncordon bool
	pods     string
	timeout  time.Duration
}

func (e *env) evacuateCommand() *cobra.Command {
	var o evacuation
	cmd := &cobra.Command{
		Use:     "evacuate NODE",
		Aliases: []string{"drain"},
		Short:   "Move every stateful pod of a node away",
		Long: `Move every pod of a node that MS2M can move to other nodes, of all namespaces.

The node is cordoned first, as by kubectl drain. Then every pod is looked at, and it is
said which can't go and why, before any begins: if one can't, none does, unless
--continue-on-error. As many move at a time as the manager's limits allow; the others
queue. A Sequential migration has a gap: it waits until the pod's PodDisruptionBudgets
allow one, and those of such pods go one after another.

MS2M moves pods that say by their annotations what their queue is. All others are left
for kubectl drain, and listed. The exit code is 1 if a pod of MS2M's remains.`,
		Example: e.examples("evacuate node-a --dry-run", "evacuate node-a", "evacuate node-a --selector zone=b --continue-on-error",
			"evacuate node-a --pod-selector app=counter --wait=false"),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: once(e.completing(nodes)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.dryRun != "none" && o.dryRun != "client" && o.dryRun != "server" {
				return fmt.Errorf("--dry-run is %q: none, client or server", o.dryRun)
			}
			chosen, err := labels.Parse(o.pods)
			if err != nil {
				return fmt.Errorf("--pod-selector: %w", err)
			}
			if _, err := o.asked.overrides(); err != nil {
				return err
			}
			c, _, err := e.open()
			if err != nil {
				return err
			}
			ctx, stop := limit(cmd.Context(), o.timeout)
			defer stop()
			return e.evacuate(ctx, c, args[0], chosen, o)
		},
	}
	o.asked.addWhere(e, cmd)
	f := cmd.Flags()
	f.StringVar(&o.dryRun, "dry-run", "none", "client: only list the pods; server: say of each whether it could go, by a preflight; neither cordons or moves anything")
	f.Lookup("dry-run").NoOptDefVal = "server"
	f.BoolVar(&o.wait, "wait", true, "show how they come along, until all have ended")
	f.BoolVar(&o.goOn, "continue-on-error", false, "move those that can go, also if others can't or fail")
	f.BoolVar(&o.uncordon, "uncordon-on-failure", false, "let the node be used again if a pod remains; by default it stays cordoned")
	f.StringVar(&o.pods, "pod-selector", "", "`labels` of the pods to move")
	f.DurationVar(&o.timeout, "timeout", 0, "how long to wait in all; 0: as long as it takes")
	complete(cmd, "dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *env) evacuate(ctx context.Context, c client.WithWatch, name string, chosen labels.Selector, o evacuation) (err error) {
	node, err := nodeOf(ctx, c, name)
	if err != nil {
		return err
	}
	if err := o.asked.checkTarget(ctx, c, node.Name); err != nil {
		return err
	}
	if o.dryRun == "none" {
		cordoned, failure := e.cordon(ctx, c, node, true)
		if failure != nil {
			return failure
		}
		defer func() { err = e.release(ctx, c, node, cordoned && o.uncordon, err) }()
	}
	p, err := e.plan(ctx, c, node.Name, chosen, o)
	if err != nil {
		return err
	}
	p.write(e.Out)
	stay := p.stay()
	switch {
	case o.dryRun != "none" && len(stay) > 0:
		return failed("%d of %d pods can't go", len(stay), len(p.errands))
	case o.dryRun != "none":
		return nil
	case len(stay) > 0 && !o.goOn:
		return failed("%d of %d pods can't go, so none was moved: mend what is in the way, or move the others with --continue-on-error",
			len(stay), len(p.errands))
	}
	if err := e.carry(ctx, c, p, o); err != nil {
		return err
	}
	if !o.wait {
		return e.begun(p)
	}
	return e.remains(ctx, c, p, chosen)
}

// begun says which pods are not on their way, when nobody waits for those that are.
func (e *env) begun(p *plan) error {
	stay := p.stay()
	for _, r := range stay {
		fmt.Fprintf(e.Out, "  not begun: %s: %s\n", r.name(), r.why)
	}
	if len(stay) > 0 {
		return failed("%d of %d pods are not on their way", len(stay), len(p.errands))
	}
	return nil
}

// cordon makes a node take no more pods, or take them again. It reports whether that
// was a change.
func (e *env) cordon(ctx context.Context, c client.Client, node *corev1.Node, on bool) (bool, error) {
	word := map[bool]string{true: "cordoned", false: "uncordoned"}[on]
	if node.Spec.Unschedulable == on {
		fmt.Fprintf(e.Out, "node/%s already %s\n", node.Name, word)
		return false, nil
	}
	before := node.DeepCopy()
	node.Spec.Unschedulable = on
	if err := c.Patch(ctx, node, client.StrategicMergeFrom(before)); err != nil {
		return false, fmt.Errorf("%s is not %s: %w", node.Name, word, err)
	}
	fmt.Fprintf(e.Out, "node/%s %s\n", node.Name, word)
	return true, nil
}

// release says what is with a node that could not be emptied, and uncordons it if that
// is wanted.
func (e *env) release(ctx context.Context, c client.Client, node *corev1.Node, uncordon bool, why error) error {
	if why == nil {
		return nil
	}
	if !uncordon {
		fmt.Fprintf(e.ErrOut, "node/%s stays cordoned; to use it again: kubectl uncordon %s\n", node.Name, node.Name)
		return why
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer stop()
	if _, err := e.cordon(ctx, c, node, false); err != nil {
		return errors.Join(why, err)
	}
	return why
}

// podsOn are the pods of a node.
func podsOn(ctx context.Context, c client.Client, node string) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	err := c.List(ctx, list, &client.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node)})
	return list.Items, err
}

// together is how many preflights run at a time.
const together = 10

// plan finds out what becomes of the pods of a node.
func (e *env) plan(ctx context.Context, c client.WithWatch, node string, chosen labels.Selector, o evacuation) (*plan, error) {
	all, err := podsOn(ctx, c, node)
	if err != nil {
		return nil, err
	}
	list, budgets := &migrations{}, &policyv1.PodDisruptionBudgetList{}
	if err := c.List(ctx, list); err != nil {
		return nil, err
	}
	if err := c.List(ctx, budgets); err != nil {
		return nil, err
	}
	p := newPlan(node, all, chosen, list.Items)
	var ask []*errand
	for _, r := range p.errands {
		if r.under != nil {
			r.strategy = r.under.Status.Strategy
			continue
		}
		if r.ask, err = o.asked.request(ctx, c, r.pod); err != nil {
			r.why = err.Error()
		} else {
			ask = append(ask, r)
		}
	}
	if o.dryRun == "client" {
		return p, nil
	}
	workqueue.ParallelizeUntil(ctx, together, len(ask), func(i int) {
		m, err := e.examine(ctx, c, ask[i].ask, patience)
		ask[i].judge(m, err, budgets.Items)
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return p, nil
}

// remains says what is left on the node in the end.
func (e *env) remains(ctx context.Context, c client.Client, p *plan, chosen labels.Selector) error {
	all, err := podsOn(ctx, c, p.node)
	if err != nil {
		return err
	}
	still := map[types.UID]bool{}
	for _, pod := range all {
		still[pod.UID] = pod.DeletionTimestamp == nil
	}
	left, gone := 0, 0
	for _, r := range p.errands {
		if !still[r.pod.UID] {
			gone++
			continue
		}
		if left++; left == 1 {
			fmt.Fprintln(e.Out, "Remaining:")
		}
		fmt.Fprintf(e.Out, "  %s: %s\n", r.name(), or(r.why, "it has not been moved"))
	}
	fmt.Fprintf(e.Out, "%d of %d pods have left %s\n", gone, len(p.errands), p.node)
	if rest := newPlan(p.node, all, chosen, nil).rest; len(rest) > 0 {
		fmt.Fprintf(e.Out, "For the other %d: kubectl drain %s --ignore-daemonsets\n", len(rest), p.node)
	}
	if left > 0 {
		return failed("%d of %d pods could not be moved off %s", left, len(p.errands), p.node)
	}
	return nil
}
