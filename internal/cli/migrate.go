package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	core "ms2m.dev/ms2m/internal/migration"
)

// migrateOptions are the flags of migrate.
type migrateOptions struct {
	asked   asked
	dryRun  string
	wait    bool
	timeout time.Duration
	output  outputFlag
}

func (e *env) migrateCommand() *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use:   "migrate POD",
		Short: "Move a pod to another node",
		Long: `Move a pod to another node, with its memory, while it works.

What the migration needs (queue, broker, repository) is taken from the flags, else from
the pod's annotations, else from its MigrationPolicy. Ctrl-C ends the waiting of --wait and
not the migration: that is what cancel is for.`,
		Example: e.examples("migrate counter --wait", "migrate counter --to node-b --cutoff 30s",
			"migrate counter --queue orders --broker-secret rabbit/url --repository registry.example.com/ms2m/checkpoints",
			"migrate counter --dry-run=client -o yaml"),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: once(e.completing(pods)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.dryRun != "none" && o.dryRun != "client" && o.dryRun != "server" {
				return fmt.Errorf("--dry-run is %q: none, client or server", o.dryRun)
			}
			c, ns, err := e.open()
			if err != nil {
				return err
			}
			return e.migrate(cmd.Context(), c, ns, args[0], o)
		},
	}
	o.asked.addWhere(e, cmd)
	o.asked.addPod(cmd)
	f := cmd.Flags()
	f.StringVar(&o.asked.name, "name", "", "`name` of the migration; by default one is made of the pod's")
	f.StringVar(&o.dryRun, "dry-run", "none", "client: only make the object; server: let the API server check it; neither keeps it. Whether the pod can be moved is what preflight tells")
	f.Lookup("dry-run").NoOptDefVal = "client"
	f.BoolVar(&o.wait, "wait", false, "show how it comes along, until it has ended")
	f.DurationVar(&o.timeout, "timeout", 0, "how long to wait; 0: as long as it takes")
	o.output.add(cmd, "wide", "json", "yaml", "name")
	complete(cmd, "dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *env) migrate(ctx context.Context, c client.WithWatch, ns, name string, o migrateOptions) error {
	pod, err := podOf(ctx, c, ns, name)
	if err != nil {
		return err
	}
	m, err := o.asked.request(ctx, c, pod)
	if err != nil {
		return err
	}
	if o.dryRun == "client" {
		return e.made(m, o, " (dry run)")
	}
	if err := o.asked.checkTarget(ctx, c, pod.Spec.NodeName); err != nil {
		return err
	}
	list := &migrations{}
	if err := c.List(ctx, list, client.InNamespace(ns)); err != nil {
		return err
	}
	if other := moving(list.Items, pod); other != nil {
		return failed("the pod %q is being moved already, by the migration %q (%s): look on by %s status -n %s %s, or give that up by %s cancel -n %s %s",
			pod.Name, other.Name, phase(other), e.name, ns, other.Name, e.name, ns, other.Name)
	}
	var create []client.CreateOption
	note := ""
	if o.dryRun == "server" {
		create, note = append(create, client.DryRunAll), " (server dry run)"
	}
	if err := c.Create(ctx, m, create...); err != nil {
		return err
	}
	if note != "" || !o.wait {
		return e.made(m, o, note)
	}
	fmt.Fprintf(e.ErrOut, "migration %s/%s begins\n", m.Namespace, m.Name)
	where := e.Out
	if o.output.objects() {
		where = e.ErrOut // what is printed for programs is not mixed with it
	}
	limited, stop := limit(ctx, o.timeout)
	defer stop()
	last, err := e.await(limited, c, m, e.newProgress(where))
	if err != nil {
		return e.unended(last, err)
	}
	if o.output.format != "" {
		if err := e.made(last, o, ""); err != nil {
			return err
		}
	}
	return e.verdict(last)
}

// made prints a migration as the flags say.
func (e *env) made(m *migration, o migrateOptions, note string) error {
	switch {
	case o.output.objects() && (o.output.format != "name" || m.Name != ""):
		return o.output.print(m, e.scheme, e.Out)
	case o.output.format == "wide":
		(&listing{wide: true}).print(e.Out, e.clock.Now(), *m)
		return nil
	}
	fmt.Fprintf(e.Out, "statefulmigration.%s/%s created%s\n", v1alpha1.GroupVersion.Group, m.Name+m.GenerateName, note)
	if note == "" && !o.wait {
		fmt.Fprintf(e.ErrOut, "look on: %s status -n %s %s\n", e.name, m.Namespace, m.Name)
	}
	return nil
}

// await shows a migration until it has ended, and returns what it was last.
func (e *env) await(ctx context.Context, c client.WithWatch, m *migration, p progress) (*migration, error) {
	versions := make(chan *migration)
	done := make(chan error, 1)
	go func() {
		done <- e.follow(ctx, c, client.ObjectKeyFromObject(m), m.UID, func(now *migration) bool {
			select {
			case versions <- now.DeepCopy():
			case <-ctx.Done():
			}
			return ended(now)
		})
	}()
	tick := e.clock.NewTicker(repaint)
	defer tick.Stop()
	defer p.end()
	for {
		select {
		case m = <-versions:
			p.show(m)
		case <-tick.C():
			p.tick()
		case err := <-done:
			return m, err
		}
	}
}

// unended says that a migration goes on though nobody looks on any more.
func (e *env) unended(m *migration, err error) error {
	if errors.Is(err, errGone) {
		return failed("%w (%s): see what has become of the pod: kubectl get pods -n %s -o wide", err, phase(m), m.Namespace)
	}
	why := e.explain(err)
	return &exit{exitUnended, fmt.Errorf("%s, and the migration %q goes on (%s):\n  %s", why, m.Name, phase(m), strings.Join(advice(m, e.name), "\n  "))}
}

// verdict is nil for a migration that has succeeded; else it says why not, what
// conditions have to do with it, and what to do.
func (e *env) verdict(m *migration) error {
	if m.Status.Phase == v1alpha1.PhaseCompleted {
		return nil
	}
	reason, message := outcome(m)
	var b strings.Builder
	fmt.Fprintf(&b, "the migration %q failed: %s: %s", m.Name, reason, printable(message))
	for _, c := range m.Status.Conditions {
		if c.Status != metav1.ConditionTrue && c.Type != v1alpha1.ConditionSucceeded && c.Message != "" {
			fmt.Fprintf(&b, "\n  %s is %s, %s: %s", c.Type, c.Status, c.Reason, printable(c.Message))
		}
	}
	if where := stands(m); where != "" {
		b.WriteString("\n" + where)
	}
	b.WriteString("\nWhat to do next:\n  " + strings.Join(advice(m, e.name), "\n  "))
	return failed("%s", b.String())
}

// stands says where the state is after a failure.
func stands(m *migration) string {
	reason, _ := outcome(m)
	lost := []string{core.ReasonSourceLost, core.ReasonSourceRestarted, core.ReasonPodNotFound}
	switch {
	case m.Status.StartedAt == nil:
		return "The pod was not touched."
	case committed(m):
		return fmt.Sprintf("The state had moved already: see the pod %q.", or(m.Status.TargetPodName, m.Status.SourcePodName))
	case slices.Contains(lost, reason):
		return ""
	}
	return fmt.Sprintf("The pod %q goes on on %s, as if nothing had happened.", m.Spec.SourcePod.Name, or(m.Status.OriginNode, "its node"))
}
