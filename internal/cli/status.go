package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (e *env) statusCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:               "status NAME",
		Aliases:           []string{"describe"},
		Short:             "Tell the story of a migration",
		Long:              "Tell where a migration stands and how it came there: phases, pauses, positions, conditions, events, and what to do next.",
		Example:           e.examples("status counter", "status counter -o yaml"),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: once(e.completing(moves)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, ns, err := e.open()
			if err != nil {
				return err
			}
			m, err := getMigration(cmd.Context(), c, ns, args[0])
			if err != nil {
				return err
			}
			if output.objects() {
				return output.print(m, e.scheme, e.Out)
			}
			events, err := eventsOf(cmd.Context(), c, m)
			writeStatus(e.Out, story{m: m, events: events, now: e.clock.Now(), command: e.name, unseen: err})
			return nil
		},
	}
	output.add(cmd, "json", "yaml", "name")
	return cmd
}

// eventsOf are the events of a migration and of its pods, in their order.
func eventsOf(ctx context.Context, c client.Client, m *migration) ([]corev1.Event, error) {
	about := []types.UID{m.UID, m.Status.SourcePodUID, m.Status.TargetPodUID}
	for _, h := range m.Status.Hops {
		about = append(about, h.SourcePodUID)
	}
	slices.Sort(about)
	var events []corev1.Event
	for _, uid := range slices.Compact(about) {
		if uid == "" {
			continue
		}
		list := &corev1.EventList{}
		o := &client.ListOptions{Namespace: m.Namespace, FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(uid))}
		if err := c.List(ctx, list, o); err != nil {
			return nil, err
		}
		for _, ev := range list.Items {
			// Those of a pod from before are not this migration's, and what the manager
			// says of it on its pods, too, is there already.
			before := eventTime(&ev).Before(m.CreationTimestamp.Time)
			if uid == m.UID || !before && ev.ReportingController != managerName {
				events = append(events, ev)
			}
		}
	}
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	return events, nil
}
