package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// board has the lines of several migrations: one for each on a terminal, one for each
// phase elsewhere.
type board struct {
	mu    sync.Mutex
	w     io.Writer
	now   func() time.Time
	begin time.Time
	names int // width of the longest name

	canvas *canvas // nil: no terminal
	order  []*errand
	lines  map[*errand]*boardLine
}

func (e *env) newBoard(p *plan) *board {
	b := &board{w: e.Out, now: e.clock.Now, begin: e.clock.Now(), order: p.errands, lines: map[*errand]*boardLine{}}
	for _, r := range p.errands {
		b.names = max(b.names, len(r.name()))
	}
	if width := terminal(e.Out); width != nil {
		b.canvas = &canvas{w: e.Out, width: width}
	}
	return b
}

// Write implements io.Writer for those that share the board.
func (b *board) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.w.Write(p)
}

func (b *board) name(r *errand) string { return fmt.Sprintf("%-*s", b.names, r.name()) }

// of shows one pod's migration.
func (b *board) of(r *errand) progress {
	if b.canvas == nil {
		return &teller{w: b, now: b.now, begin: b.begin, prefix: b.name(r) + "  ", brief: true}
	}
	l := &boardLine{board: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines[r] = l
	return l
}

// say tells something of a pod that is not on its way.
func (b *board) say(r *errand, what, text string) {
	if b.canvas == nil {
		fmt.Fprintf(b, "%7.1f s  %s  %-13s  %s\n", b.now().Sub(b.begin).Seconds(), b.name(r), what, printable(text))
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines[r] = &boardLine{board: b, text: fmt.Sprintf("… %-13s  %7s  %s", what, "", text)}
	b.paint()
}

// paint is called with the lock held.
func (b *board) paint() {
	var lines []string
	for _, r := range b.order {
		if l := b.lines[r]; l != nil {
			lines = append(lines, "  "+b.name(r)+"  "+l.String())
		}
	}
	b.canvas.paint(lines)
}

// boardLine is a pod's line on a terminal.
type boardLine struct {
	board *board
	text  string // of a pod that is not on its way
	m     *migration
	peak  int64
}

func (l *boardLine) String() string {
	if l.m == nil {
		return l.text
	}
	return brief(l.m, l.board.now(), l.peak)
}

func (l *boardLine) show(m *migration) {
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	if l.m != nil && l.m.Status.Hop != m.Status.Hop {
		l.peak = 0
	}
	if lag := m.Status.Lag; lag != nil {
		l.peak = max(l.peak, lag.Messages)
	}
	l.m = m
	l.board.paint()
}

func (l *boardLine) tick() {
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	l.board.paint()
}

func (*boardLine) end() {}
