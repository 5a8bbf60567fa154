package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"ms2m.dev/ms2m/api/v1alpha1"
	core "ms2m.dev/ms2m/internal/migration"
)

// table writes aligned columns.
func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 3, ' ', 0) }

// row writes one line of a table; what is empty is a dash, as in kubectl.
func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// took is a duration of which the parts of seconds matter.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return duration.HumanDuration(d)
}

func millis(ms *int64) string {
	if ms == nil {
		return ""
	}
	return took(time.Duration(*ms) * time.Millisecond)
}

func size(bytes int64) string {
	switch {
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	case bytes < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30))
}

func age(at metav1.Time, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return duration.HumanDuration(since(at.Time, now))
}

// whole is how long a migration took, or has taken, from when it was let in.
func whole(m *migration, now time.Time) (time.Duration, bool) {
	s := m.Status
	if s.StartedAt == nil {
		return 0, false
	}
	if s.EndedAt != nil {
		now = s.EndedAt.Time
	}
	return since(s.StartedAt.Time, now), true
}

// committed reports whether the state has moved for good: there is only forward.
func committed(m *migration) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionCommitted) ||
		slices.ContainsFunc(m.Status.Hops, func(h v1alpha1.Hop) bool { return h.Result == core.ReasonCommitted })
}

// lagText says what is outstanding.
func lagText(s *v1alpha1.StatefulMigrationStatus) string {
	if s.Lag == nil {
		return ""
	}
	text := fmt.Sprintf("lag %d", s.Lag.Messages)
	if s.Lag.Seconds != "" {
		text += fmt.Sprintf(" (%s s)", s.Lag.Seconds)
	}
	return text
}

// outcome is the phase with the reason of the end, or of what holds it up.
func outcome(m *migration) (reason, message string) {
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason, c.Message
	}
	if q := m.Status.Queued; q != nil {
		return q.Reason, q.Message
	}
	for i := len(m.Status.Conditions) - 1; i >= 0; i-- {
		if c := m.Status.Conditions[i]; c.Status == metav1.ConditionFalse {
			return c.Reason, c.Message
		}
	}
	return "", ""
}

// phase is what is shown as the phase: a migration that is being undone, or that nobody
// has seen yet, says so.
func phase(m *migration) string {
	s := m.Status
	switch {
	case s.Phase == "":
		return "New"
	case s.Queued != nil && !ended(m):
		return "Queued"
	case !ended(m) && meta.IsStatusConditionFalse(s.Conditions, v1alpha1.ConditionSucceeded):
		return string(s.Phase) + " (going back)"
	case m.DeletionTimestamp != nil:
		return string(s.Phase) + " (deleted)"
	}
	return string(s.Phase)
}

// source and target are the pods of the whole migration, over all hops.
func sourceNode(m *migration) string {
	if len(m.Status.Hops) > 0 {
		return m.Status.Hops[0].SourceNode
	}
	return m.Status.SourceNode
}

func targetNode(m *migration) string {
	if m.Status.TargetNode != "" {
		return m.Status.TargetNode
	}
	switch t := m.Spec.TargetNode; {
	case t == nil:
		return ""
	case t.Name != "":
		return t.Name
	default:
		return metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: t.Selector})
	}
}
