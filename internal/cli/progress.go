package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"ms2m.dev/ms2m/api/v1alpha1"
	core "ms2m.dev/ms2m/internal/migration"
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
	if width := terminal(w); width != nil {
		return &painter{canvas: canvas{w: w, width: width}, now: e.clock.Now}
	}
	return &teller{w: w, now: e.clock.Now}
}

// terminal gives the width of a terminal; nil: w is none that can be painted on.
func terminal(w io.Writer) func() int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return func() int {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
		return 80
	}
}

// canvas is where lines are painted over those that were there before.
type canvas struct {
	w       io.Writer
	width   func() int
	painted int // lines
}

func (c *canvas) paint(lines []string) {
	var b strings.Builder
	if c.painted > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", c.painted)
	}
	for _, l := range clip(lines, c.width()) {
		b.WriteString("\r" + l + "\x1b[K\n")
	}
	b.WriteString("\x1b[J") // the last picture may have had more lines
	c.painted = len(lines)
	fmt.Fprint(c.w, b.String())
}

// painter repaints the picture of a migration in its place.
type painter struct {
	canvas
	now  func() time.Time
	m    *migration
	hop  int32
	peak int64
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
	if p.m != nil {
		p.paint(frame(p.m, p.now(), p.peak, p.width()))
	}
}

func (p *painter) end() { p.painted = 0 }

// lagEvery bounds how often the lag is told in lines.
const lagEvery = 2 * time.Second

// teller writes a line for every change that says something.
type teller struct {
	w      io.Writer
	now    func() time.Time
	prefix string // names the migration where there are several
	brief  bool   // phases alone
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
	early := m.Status.Phase == v1alpha1.PhaseReplaying && t.last != "" && now.Sub(t.told) < lagEvery
	if at == t.phase && (t.brief || text == t.last || early) {
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
		text := lagText(s) + slowed(s)
		if c := s.Cutoff; c != nil && c.ReplayRate != "" {
			text += fmt.Sprintf(", %s/s in, %s/s done", or(c.ArrivalRate, "?"), c.ReplayRate)
		}
		return text
	case reason != "":
		return why(reason, message)
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

// why is a reason with its message; that it waits says the message itself.
func why(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == core.ReasonWaiting || reason == core.ReasonPreparing:
		return message
	}
	return reason + ": " + message
}
