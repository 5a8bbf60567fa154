package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// progress shows how a migration comes along.
type progress interface {
	// show is told every version of it.
	show(m *migration)
	// tick is called now and then, for the times to go on.
	tick()
	// end leaves the output so that others can write.
	end()
}

// repaint is how often the times are repainted.
const repaint = 200 * time.Millisecond

// newProgress paints on a terminal, and writes lines elsewhere.
func (e *env) newProgress(w io.Writer) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return &painter{w: w, now: e.clock.Now, width: func() int {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				return width
			}
			return 80
		}}
	}
	return &teller{w: w, now: e.clock.Now}
}

// painter repaints the picture of a migration in its place.
type painter struct {
	w       io.Writer
	now     func() time.Time
	width   func() int
	m       *migration
	hop     int32
	peak    int64
	painted int // lines
}

func (p *painter) show(m *migration) {
	if m.Status.Hop != p.hop {
		p.hop, p.peak, p.painted = m.Status.Hop, 0, 0 // the picture of the last hop stays
	}
	if l := m.Status.Lag; l != nil {
		p.peak = max(p.peak, l.Messages)
	}
	p.m = m
	p.tick()
}

func (p *painter) tick() {
	if p.m == nil {
		return
	}
	lines := frame(p.m, p.now(), p.peak, p.width())
	var b strings.Builder
	if p.painted > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.painted)
	}
	for _, l := range lines {
		b.WriteString("\r" + l + "\x1b[K\n")
	}
	b.WriteString("\x1b[J") // the last picture may have had more lines
	p.painted = len(lines)
	fmt.Fprint(p.w, b.String())
}

func (p *painter) end() { p.painted = 0 }

// lagEvery bounds how often the lag is told in lines.
const lagEvery = 2 * time.Second

// teller writes a line for every change that says something.
type teller struct {
	w      io.Writer
	now    func() time.Time
	prefix string // names the migration where there are several
	begin  time.Time
	last   string
	phase  string
	told   time.Time
}

func (t *teller) show(m *migration) {
	now := t.now()
	if t.begin.IsZero() {
		t.begin = now
	}
	at, text := phase(m), told(m)
	if at == t.phase && (text == t.last || m.Status.Phase == v1alpha1.PhaseReplaying && now.Sub(t.told) < lagEvery) {
		return
	}
	t.phase, t.last, t.told = at, text, now
	if m.Status.Hop > 1 && !ended(m) {
		at += fmt.Sprintf(" (%d)", m.Status.Hop)
	}
	line := fmt.Sprintf("%7.1f s  %s%-13s  %s", now.Sub(t.begin).Seconds(), t.prefix, at, printable(text))
	fmt.Fprintln(t.w, strings.TrimRight(line, " "))
}

func (*teller) tick() {}
func (*teller) end()  {}

// told is what a line says beside the phase.
func told(m *migration) string {
	s := &m.Status
	reason, message := outcome(m)
	switch {
	case s.Phase == v1alpha1.PhaseCompleted:
		text := fmt.Sprintf("on %s as %s", or(s.TargetNode, "?"), or(s.TargetPodName, m.Spec.SourcePod.Name))
		if p := s.Pauses; p != nil {
			text += fmt.Sprintf(", pauses %s and %s", or(millis(p.CheckpointMillis), "-"), or(millis(p.HandoverMillis), "-"))
		}
		return text
	case s.Queued != nil && !ended(m):
		return fmt.Sprintf("%d ahead: %s", s.Queued.Ahead, or(message, reason))
	case s.Phase == v1alpha1.PhaseReplaying && s.Lag != nil:
		text := lagText(s)
		if c := s.Cutoff; c != nil && c.ReplayRate != "" {
			text += fmt.Sprintf(", %s/s in, %s/s done", or(c.ArrivalRate, "?"), c.ReplayRate)
		}
		return text
	case reason != "":
		return reason + ": " + message
	}
	switch s.Phase {
	case v1alpha1.PhaseTransferring:
		return after(s, v1alpha1.PhaseCheckpointing)
	case v1alpha1.PhaseRestoring:
		return after(s, v1alpha1.PhaseTransferring)
	case v1alpha1.PhaseFinalizing:
		return after(s, v1alpha1.PhaseReplaying)
	}
	return ""
}
