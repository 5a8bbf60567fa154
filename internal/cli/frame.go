package cli

import (
	"fmt"
	"strings"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// phases are those that a migration goes through.
var phases = []v1alpha1.MigrationPhase{
	v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring,
	v1alpha1.PhaseRestoring, v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing,
}

// barWidth is how many cells the bar of a replay has.
const barWidth = 24

// frame is a picture of a migration for a terminal, a line per phase, none wider than
// width. peak is the largest lag that was seen in this hop: the whole of the bar.
func frame(m *migration, now time.Time, peak int64, width int) []string {
	s := &m.Status
	title := fmt.Sprintf("%s/%s  %s → %s", m.Namespace, m.Spec.SourcePod.Name, or(s.OriginNode, "?"), or(targetNode(m), "?"))
	if s.Hop > 1 {
		title += fmt.Sprintf("  (hand-over %d)", s.Hop)
	}
	if d, ok := whole(m, now); ok {
		title += "  " + took(d)
	}
	lines := []string{title}
	if q := s.Queued; q != nil && !ended(m) {
		return clip(append(lines, fmt.Sprintf("  … queued for %s, %d ahead: %s", took(since(q.Since.Time, now)), q.Ahead, or(q.Message, q.Reason))), width)
	}
	times := map[v1alpha1.MigrationPhase]v1alpha1.PhaseTime{}
	for _, p := range s.PhaseTimes {
		times[p.Phase] = p
	}
	for _, p := range phases {
		at, entered := times[p]
		switch {
		case !entered:
			lines = append(lines, fmt.Sprintf("    %s", p))
		case s.Phase == p:
			lines = append(lines, strings.TrimRight(fmt.Sprintf("  ● %-13s  %7s  %s", p, took(since(at.StartedAt.Time, now)), under(m, p, peak)), " "))
		default:
			lines = append(lines, strings.TrimRight(fmt.Sprintf("  ✓ %-13s  %7s  %s", p, millis(at.DurationMillis), after(s, p)), " "))
		}
	}
	if reason, message := outcome(m); reason != "" && s.Phase != v1alpha1.PhaseCompleted {
		sign := "…"
		if s.Phase == v1alpha1.PhaseFailed {
			sign = "✗"
		}
		lines = append(lines, fmt.Sprintf("  %s %s", sign, why(reason, message)))
	}
	return clip(lines, width)
}

// brief is a migration in one line.
func brief(m *migration, now time.Time, peak int64) string {
	s := &m.Status
	sign, text := "●", under(m, s.Phase, peak)
	switch {
	case s.Phase == v1alpha1.PhaseCompleted:
		sign, text = "✓", told(m)
	case s.Phase == v1alpha1.PhaseFailed:
		sign, text = "✗", told(m)
	case s.Queued != nil:
		sign, text = "…", told(m)
	case text == "":
		text = told(m)
	}
	time := ""
	if d, ok := whole(m, now); ok {
		time = took(d)
	}
	return strings.TrimRight(fmt.Sprintf("%s %-13s  %7s  %s", sign, phase(m), time, text), " ")
}

// under is what is told about the phase that a migration is in.
func under(m *migration, p v1alpha1.MigrationPhase, peak int64) string {
	s := &m.Status
	if p != v1alpha1.PhaseReplaying && p != v1alpha1.PhaseFinalizing || s.Lag == nil {
		return after(s, p)
	}
	text := lagText(s) + slowed(s)
	if peak > 0 {
		text = bar(peak-s.Lag.Messages, peak) + " " + text
	}
	if c := s.Cutoff; c != nil && c.ReplayRate != "" && p == v1alpha1.PhaseReplaying {
		text += fmt.Sprintf(", %s/s in, %s/s done", or(c.ArrivalRate, "?"), c.ReplayRate)
	}
	return text
}

// after is what is told about a phase that has ended.
func after(s *v1alpha1.StatefulMigrationStatus, p v1alpha1.MigrationPhase) string {
	switch {
	case p == v1alpha1.PhaseCheckpointing && s.Pauses != nil && s.Pauses.CheckpointMillis != nil:
		return "pause " + millis(s.Pauses.CheckpointMillis)
	case p == v1alpha1.PhaseTransferring && s.CheckpointImage != nil:
		return fmt.Sprintf("%s, %s unpacked", size(s.CheckpointImage.SizeBytes), size(s.CheckpointImage.ArchiveBytes))
	case p == v1alpha1.PhaseReplaying && s.Cutoff != nil:
		return s.Cutoff.Reason
	case p == v1alpha1.PhaseFinalizing && s.Pauses != nil && s.Pauses.HandoverMillis != nil:
		return "pause " + millis(s.Pauses.HandoverMillis)
	}
	return ""
}

// bar shows how much of a whole is done.
func bar(done, whole int64) string {
	n := int(max(0, min(done, whole)) * barWidth / whole)
	return strings.Repeat("█", n) + strings.Repeat("░", barWidth-n)
}

// clip cuts lines to the width of the terminal: a line that wraps would be repainted
// in the wrong place. What comes from the cluster is printed without its control characters.
func clip(lines []string, width int) []string {
	for i, l := range lines {
		r := []rune(printable(l))
		if len(r) > width {
			r = append(r[:max(width-1, 0)], '…')
		}
		lines[i] = string(r)
	}
	return lines
}

// printable is a text in one line, without control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func or[T ~string](s T, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return string(s)
}
