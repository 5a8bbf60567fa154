package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (e *env) listCommand() *cobra.Command {
	var (
		all, watching bool
		selector      string
		output        outputFlag
	)
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "get"},
		Short:   "List the migrations",
		Long:    "List the migrations of the namespace: those under way first, then the newest.",
		Example: e.examples("list -A", "list -A --watch", "list -o wide"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watching && output.objects() {
				return fmt.Errorf("--watch prints lines: not together with -o %s", output.format)
			}
			c, ns, err := e.open()
			if err != nil {
				return err
			}
			chosen, err := labels.Parse(selector)
			if err != nil {
				return fmt.Errorf("--selector: %w", err)
			}
			o := &client.ListOptions{Namespace: ns, LabelSelector: chosen}
			if all {
				o.Namespace = metav1.NamespaceAll
			}
			return e.list(cmd.Context(), c, o, output, watching)
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "list those of all namespaces")
	cmd.Flags().BoolVarP(&watching, "watch", "w", false, "go on, with a line for each change")
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "labels of the migrations")
	output.add(cmd, "wide", "json", "yaml", "name")
	return cmd
}

func (e *env) list(ctx context.Context, c client.WithWatch, o *client.ListOptions, output outputFlag, watching bool) error {
	list := &migrations{}
	if err := c.List(ctx, list, o); err != nil {
		return err
	}
	sortMigrations(list.Items)
	if output.objects() {
		if output.format == "name" {
			for i := range list.Items {
				if err := output.print(&list.Items[i], e.scheme, e.Out); err != nil {
					return err
				}
			}
			return nil
		}
		return output.print(list, e.scheme, e.Out)
	}
	all := o.Namespace == metav1.NamespaceAll
	if len(list.Items) == 0 && !watching {
		where := "in the namespace " + o.Namespace
		if all {
			where = "in the cluster"
		}
		fmt.Fprintf(e.ErrOut, "There is no migration %s. Begin one: %s migrate POD\n", where, e.name)
		return nil
	}
	lines := listing{wide: output.format == "wide", all: all}
	if watching {
		lines.least = 10 // what comes later shall find its place, too
	}
	lines.print(e.Out, e.clock.Now(), list.Items...)
	if !watching {
		return nil
	}
	return e.watchList(ctx, c, o, list.ResourceVersion, &lines)
}

// watchList prints a line for each change, until ctx ends, which is how it is meant to.
func (e *env) watchList(ctx context.Context, c client.WithWatch, o *client.ListOptions, version string, lines *listing) error {
	o.Raw = &metav1.ListOptions{ResourceVersion: version}
	w, err := c.Watch(ctx, &migrations{}, o)
	if err != nil {
		return err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch m, ok := event.Object.(*migration); {
		case event.Type == watch.Error:
			return apierrors.FromObject(event.Object)
		case ok && event.Type != watch.Bookmark:
			lines.print(e.Out, e.clock.Now(), *m)
		}
	}
	if ctx.Err() == nil {
		return fmt.Errorf("the API server has ended the watch: list again")
	}
	return nil
}

// sortMigrations puts those under way first, then the newest.
func sortMigrations(items []migration) {
	slices.SortStableFunc(items, func(a, b migration) int {
		if x, y := ended(&a), ended(&b); x != y {
			if x {
				return 1
			}
			return -1
		}
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
}

// listing prints migrations as lines, which stay aligned from one print to the next.
type listing struct {
	wide, all bool
	least     int // width of a column
	widths    []int
}

func (l *listing) print(w io.Writer, now time.Time, items ...migration) {
	var rows [][]string
	if l.widths == nil {
		rows = append(rows, l.header())
		l.widths = make([]int, len(rows[0]))
	}
	for i := range items {
		rows = append(rows, l.cells(&items[i], now))
	}
	for _, r := range rows {
		for i, cell := range r {
			l.widths[i] = max(l.widths[i], l.least, len([]rune(cell)))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			fmt.Fprintf(&b, "%-*s   ", l.widths[i], cell)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

func (l *listing) header() []string {
	h := []string{"NAME", "POD", "FROM", "TO", "PHASE", "LAG", "PAUSE", "TOOK", "AGE"}
	if l.wide {
		h = append(h, "STRATEGY", "REASON", "AHEAD", "CUT-OFF", "COPY")
	}
	if l.all {
		h = append([]string{"NAMESPACE"}, h...)
	}
	return h
}

func (l *listing) cells(m *migration, now time.Time) []string {
	s := m.Status
	lag, pause, time := "", "", ""
	if s.Lag != nil && !ended(m) {
		lag = fmt.Sprint(s.Lag.Messages)
	}
	if s.Pauses != nil {
		pause = millis(s.Pauses.HandoverMillis)
	}
	if d, ok := whole(m, now); ok {
		time = took(d)
	}
	cells := []string{m.Name, m.Spec.SourcePod.Name, m.Status.OriginNode, targetNode(m), phase(m), lag, pause, time, age(m.CreationTimestamp, now)}
	if l.wide {
		reason, _ := outcome(m)
		ahead, cutoff := "", ""
		if s.Queued != nil {
			ahead = fmt.Sprint(s.Queued.Ahead)
		}
		if s.Cutoff != nil {
			cutoff = s.Cutoff.Reason
		}
		cells = append(cells, string(cmp.Or(s.Strategy, m.Spec.Strategy)), reason, ahead, cutoff, s.TargetPodName)
	}
	if l.all {
		cells = append([]string{m.Namespace}, cells...)
	}
	for i, c := range cells {
		cells[i] = cmp.Or(c, "-")
	}
	return cells
}
