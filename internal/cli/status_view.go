package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// story is what is known about a migration.
type story struct {
	m       *migration
	events  []corev1.Event
	unseen  error // why events could not be read
	now     time.Time
	command string
}

// eventTime is when something happened last; events.k8s.io and the old API keep it
// in different fields.
func eventTime(ev *corev1.Event) time.Time {
	switch {
	case ev.Series != nil:
		return ev.Series.LastObservedTime.Time
	case !ev.LastTimestamp.IsZero():
		return ev.LastTimestamp.Time
	case !ev.EventTime.IsZero():
		return ev.EventTime.Time
	}
	return ev.CreationTimestamp.Time
}

func writeStatus(w io.Writer, s story) {
	m, st := s.m, &s.m.Status
	t := table(w)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s:\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("Name", "%s/%s", m.Namespace, m.Name)
	line("Pod", "%s → %s", m.Spec.SourcePod.Name, cmp.Or(st.TargetPodName, "?"))
	line("Node", "%s → %s", cmp.Or(m.Status.OriginNode, "?"), cmp.Or(targetNode(m), "any other"))
	if o := st.Owner; o != nil {
		line("Owner", "%s %s", o.Kind, o.Name)
	}
	line("Strategy", "%s", cmp.Or(st.Strategy, m.Spec.Strategy, v1alpha1.StrategyAuto))
	if p := st.Policy; p != nil {
		line("Policy", "%s", p.Name)
	}
	line("Phase", "%s", phase(m))
	if reason, message := outcome(m); reason != "" {
		line("Reason", "%s", strings.TrimRight(reason+": "+printable(message), ": "))
	}
	if d, ok := whole(m, s.now); ok {
		line("Time", "%s, begun %s ago", took(d), age(m.CreationTimestamp, s.now))
	}
	if st.Queued != nil {
		line("Queued", "%d ahead, for %s", st.Queued.Ahead, took(since(st.Queued.Since.Time, s.now)))
	}
	if st.Attempt > 1 {
		line("Checkpoints", "%d attempts", st.Attempt)
	}
	if i := st.CheckpointImage; i != nil {
		line("Checkpoint", "%s in the repository, %s unpacked", size(i.SizeBytes), size(i.ArchiveBytes))
		line("Image", "%s", i.Reference)
	}
	if p := st.Positions; p != nil {
		line("Messages", "%s", positions(p))
	}
	if lag := lagText(st); lag != "" && !ended(m) {
		line("Outstanding", "%s", lag)
	}
	if c := st.Cutoff; c != nil {
		line("Cut-off", "%s", cutoff(c))
	}
	if t := st.Throttle; t != nil {
		line("Source slowed", "%s", throttle(t, s.now))
	}
	for i, text := range pauses(st.Pauses) {
		line([]string{"Pause (checkpoint)", "Pause (hand-over)"}[i], "%s", cmp.Or(text, "-"))
	}
	_ = t.Flush()
	writePhases(w, s)
	writeConditions(w, s)
	writeEvents(w, s)
	if lines := advice(m, s.command); len(lines) > 0 {
		fmt.Fprintln(w, "\nWhat to do next:")
		for _, l := range lines {
			fmt.Fprintln(w, "  "+l)
		}
	}
}

func positions(p *v1alpha1.Positions) string {
	text := fmt.Sprintf("checkpoint at %d, source at %d, copy at %d", p.Checkpoint, p.Source, p.Target)
	if p.End > 0 {
		text += fmt.Sprintf(", end at %d", p.End)
	}
	return text
}

// cutoff says why the source was frozen, or what is known about when it will be.
func cutoff(c *v1alpha1.Cutoff) string {
	text := fmt.Sprintf("%s: %s/s arrive, %s/s can be replayed, %d outstanding", c.Reason, cmp.Or(c.ArrivalRate, "?"), cmp.Or(c.ReplayRate, "?"), c.LagMessages)
	if c.ExpectedGapSeconds != "" {
		text += fmt.Sprintf(" (a gap of %s s, at most %d s wanted)", c.ExpectedGapSeconds, c.LimitSeconds)
	}
	return text
}

// slowed says in a word that the source is.
func slowed(s *v1alpha1.StatefulMigrationStatus) string {
	if s.Throttle == nil || s.Throttle.EndedAt != nil {
		return ""
	}
	return ", source slowed"
}

// throttle says how far the source was slowed down, and for how long.
func throttle(t *v1alpha1.Throttle, now time.Time) string {
	total := time.Duration(t.TotalMillis) * time.Millisecond
	if t.EndedAt == nil {
		total += since(t.Since.Time, now)
	}
	text := fmt.Sprintf("to a message in %d ms, for %s", t.PaceMillis, took(total))
	if !t.Kept {
		text += " (asked for; its library has not said that it keeps it)"
	}
	return text
}

// pauses are the pause at the checkpoint and the one at the hand-over, if there was any.
func pauses(p *v1alpha1.Pauses) []string {
	if p == nil {
		return nil
	}
	checkpoint := millis(p.CheckpointMillis)
	if c := p.Checkpoint; c != nil && c.Node != nil && c.DrainMillis != nil && c.CallMillis != nil {
		checkpoint += fmt.Sprintf(" (drain %d, call %d, begin %d, CRIU %d of which frozen %d, thaw %d ms)",
			*c.DrainMillis, *c.CallMillis, c.Node.BeginMillis, c.Node.DumpMillis, c.Node.FrozenMillis, c.Node.ThawMillis)
	}
	return []string{checkpoint, millis(p.HandoverMillis)}
}

func writePhases(w io.Writer, s story) {
	st := s.m.Status
	if len(st.PhaseTimes)+len(st.Hops) == 0 {
		return
	}
	fmt.Fprintln(w, "\nPhases:")
	t := table(w)
	row(t, "  HOP", "PHASE", "BEGAN", "TOOK")
	write := func(hop int32, times []v1alpha1.PhaseTime) {
		for _, p := range times {
			d := millis(p.DurationMillis)
			if d == "" && !isEnd(p.Phase) {
				d = took(since(p.StartedAt.Time, s.now)) + " so far"
			}
			row(t, fmt.Sprintf("  %d", max(hop, 1)), string(p.Phase), p.StartedAt.UTC().Format("15:04:05.000"), d)
		}
	}
	for _, h := range st.Hops {
		write(h.Hop, h.PhaseTimes)
		row(t, fmt.Sprintf("  %d", h.Hop), h.Result, h.EndedAt.UTC().Format("15:04:05.000"), h.SourcePodName+" → "+cmp.Or(h.TargetPodName, "?"))
	}
	write(st.Hop, st.PhaseTimes)
	_ = t.Flush()
}

func isEnd(p v1alpha1.MigrationPhase) bool {
	return p == v1alpha1.PhaseCompleted || p == v1alpha1.PhaseFailed
}

func writeConditions(w io.Writer, s story) {
	if len(s.m.Status.Conditions) == 0 {
		return
	}
	fmt.Fprintln(w, "\nConditions:")
	t := table(w)
	row(t, "  TYPE", "STATUS", "AGE", "REASON", "MESSAGE")
	for _, c := range s.m.Status.Conditions {
		row(t, "  "+c.Type, string(c.Status), age(c.LastTransitionTime, s.now), c.Reason, printable(c.Message))
	}
	_ = t.Flush()
}

func writeEvents(w io.Writer, s story) {
	if s.unseen != nil {
		fmt.Fprintf(w, "\nEvents: they cannot be read: %v\n", s.unseen)
		return
	}
	if len(s.events) == 0 {
		return
	}
	fmt.Fprintln(w, "\nEvents:")
	t := table(w)
	row(t, "  AGE", "TYPE", "REASON", "OBJECT", "MESSAGE")
	for i := range s.events {
		ev := &s.events[i]
		object := strings.ToLower(ev.InvolvedObject.Kind) + "/" + ev.InvolvedObject.Name
		row(t, "  "+age(metav1.NewTime(eventTime(ev)), s.now), ev.Type, ev.Reason, object, printable(ev.Message))
	}
	_ = t.Flush()
}
