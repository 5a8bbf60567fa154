package cli

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"ms2m.dev/ms2m/api/v1alpha1"
)

var fixtures = []string{"completed", "replaying", "failed"}

func TestStatus(t *testing.T) {
	for _, name := range fixtures {
		var b strings.Builder
		m := fixture(t, name)
		writeStatus(&b, story{m: m, now: later, command: "kubectl ms2m", events: []corev1.Event{{
			InvolvedObject: corev1.ObjectReference{Kind: "StatefulMigration", Name: m.Name},
			Type:           "Normal", Reason: "Checkpointing", Message: "checkpoint 1 begins",
			EventTime: metav1.NewMicroTime(later.Add(-20 * time.Second)),
		}}})
		golden(t, "status-"+name+".txt", b.String())
	}
}

func TestList(t *testing.T) {
	items := make([]migration, 0, len(fixtures))
	for _, name := range fixtures {
		items = append(items, *fixture(t, name))
	}
	sortMigrations(items)
	var b strings.Builder
	l := listing{all: true, wide: true}
	l.print(&b, later, items...)
	items[0].Status.Lag.Messages = 11
	l.print(&b, later.Add(time.Second), items[0])
	golden(t, "list-wide.txt", b.String())
}

// TestFrame holds what a terminal shows, in two widths.
func TestFrame(t *testing.T) {
	for _, name := range fixtures {
		m := fixture(t, name)
		text := strings.Join(frame(m, later, 903, 100), "\n") + "\n"
		for _, l := range frame(m, later, 903, 34) {
			if n := len([]rune(l)); n > 34 {
				t.Errorf("%s: a line of %d in a terminal of 34: %q", name, n, l)
			}
			text += l + "\n"
		}
		golden(t, "frame-"+name+".txt", text)
	}
}

// TestPainterRepaints plays a terminal: what stays on it is the last picture alone.
func TestPainterRepaints(t *testing.T) {
	var b strings.Builder
	now := later
	p := &painter{canvas: canvas{w: &b, width: func() int { return 100 }}, now: func() time.Time { return now }}
	m := fixture(t, "replaying")
	queued := m.DeepCopy()
	queued.Status.Queued = &v1alpha1.Queued{Reason: "MaxMigrations", Ahead: 2, Since: metav1.NewMicroTime(later)}
	p.show(queued)
	p.show(m)
	now = now.Add(time.Second)
	p.tick()
	p.show(fixture(t, "completed"))
	p.end()
	want := frame(fixture(t, "completed"), now, 237, 100)
	got := screen(b.String())
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the screen shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestBoard plays a terminal on which a node is emptied: a line for each pod that is on
// its way or waits.
func TestBoard(t *testing.T) {
	var b strings.Builder
	one, two, three := onNode("counter-0"), onNode("counter-11"), onNode("stays")
	p := &plan{errands: []*errand{{pod: &one}, {pod: &two}, {pod: &three}}}
	e := newEnv(genericiooptions.IOStreams{Out: &b}, "kubectl ms2m")
	board := e.newBoard(p)
	board.canvas, board.now = &canvas{w: &b, width: func() int { return 110 }}, func() time.Time { return later }
	first, second := board.of(p.errands[0]), board.of(p.errands[1])
	first.show(fixture(t, "replaying"))
	board.say(p.errands[2], "Waiting", "for its budget")
	second.show(fixture(t, "failed"))
	second.tick()
	first.show(fixture(t, "completed"))
	second.show(fixture(t, "replaying"))
	golden(t, "board.txt", strings.Join(screen(b.String()), "\n")+"\n")
}

// screen is what a terminal shows of an output that uses the few codes of painter.
func screen(out string) []string {
	var lines []string
	y := 0
	for out != "" {
		switch {
		case strings.HasPrefix(out, "\x1b["):
			n, i := 0, 2
			for ; out[i] >= '0' && out[i] <= '9'; i++ {
				n = n*10 + int(out[i]-'0')
			}
			switch out[i] {
			case 'A':
				y -= n
			case 'J':
				lines = lines[:y]
			}
			out = out[i+1:]
		default:
			end := strings.IndexAny(out, "\n")
			text := strings.TrimSuffix(strings.TrimPrefix(out[:end], "\r"), "\x1b[K")
			if y == len(lines) {
				lines = append(lines, "")
			}
			lines[y] = text
			y++
			out = out[end+1:]
		}
	}
	return lines
}

// TestTeller holds what is written where there is no terminal: a line per change, and
// no control character, whatever a message has in it.
func TestTeller(t *testing.T) {
	var b strings.Builder
	now := later
	p := &teller{w: &b, now: func() time.Time { return now }}
	m := fixture(t, "replaying")
	for _, ph := range phases[:4] {
		step := m.DeepCopy()
		step.Status.Phase, step.Status.Lag = ph, nil
		p.show(step)
		p.show(step)
		now = now.Add(300 * time.Millisecond)
	}
	for lag := int64(900); lag > 0; lag -= 150 {
		m.Status.Lag.Messages = lag
		p.show(m.DeepCopy())
		now = now.Add(900 * time.Millisecond)
	}
	p.show(fixture(t, "completed"))
	bad := fixture(t, "failed")
	bad.Status.Conditions[1].Message = "first\x1b[2J\nsecond"
	p.show(bad)
	golden(t, "told.txt", b.String())
}

func TestCancelling(t *testing.T) {
	m := fixture(t, "replaying")
	queued := m.DeepCopy()
	queued.Status.StartedAt = nil
	finalizing := m.DeepCopy()
	finalizing.Status.Phase = v1alpha1.PhaseFinalizing
	forward := fixture(t, "completed")
	forward.Status.Phase = v1alpha1.PhaseFinalizing
	for want, m := range map[string]*migration{
		"as if nothing had happened": m,
		"had not begun":              queued,
		"unless the copy writes":     finalizing,
		"there is only forward":      forward,
		"stays there":                fixture(t, "completed"),
		"only its object is removed": fixture(t, "failed"),
	} {
		if got := cancelling(m); !strings.Contains(got, want) {
			t.Errorf("%q, want it to say %q", got, want)
		}
	}
}

func TestSimilar(t *testing.T) {
	names := []string{"counter-0", "counter-1", "stock", "conter", "another"}
	for given, want := range map[string]string{
		"counter": "conter counter-0 counter-1",
		"stokc":   "stock",
		"zebra":   "",
	} {
		if got := strings.Join(similar(given, names), " "); got != want {
			t.Errorf("similar(%q) = %q, want %q", given, got, want)
		}
	}
}
