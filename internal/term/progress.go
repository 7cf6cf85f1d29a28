// Package term shows things on a terminal, and in logs, where there is none.
//
// Its rules: results go to standard output, progress and hints to standard error. Progress is one line
// that changes where the output is a terminal; elsewhere it is plain lines, and a long step repeats
// itself at most every ten seconds. Nothing is coloured unless it is a terminal and NO_COLOR is unset.
package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Progress shows a list of steps as they are done. It is safe for concurrent use.
type Progress struct {
	out   io.Writer
	live  bool
	width int

	mu    sync.Mutex
	step  string
	note  string
	begun time.Time
	told  time.Time
	stop  chan struct{}
}

// plainEvery is the pause between two lines of one step where there is no terminal.
const plainEvery = 10 * time.Second

// NewProgress shows progress on w, live if that is a terminal.
func NewProgress(w io.Writer) *Progress {
	p := &Progress{out: w, width: 80}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.live = true
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
			p.width = width
		}
	}
	return p
}

// Begin starts a step.
func (p *Progress) Begin(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.note, p.begun, p.told = step, "", time.Now(), time.Now()
	if !p.live {
		return
	}
	p.draw()
	p.stop = make(chan struct{})
	go p.tick(p.stop)
}

// tick keeps the clock of a live line going.
func (p *Progress) tick(stop chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// Note says what the step is doing.
func (p *Progress) Note(step, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if step != p.step || text == p.note {
		return
	}
	p.note = text
	switch {
	case p.live:
		p.draw()
	case time.Since(p.told) >= plainEvery:
		p.told = time.Now()
		fmt.Fprintf(p.out, "  ... %s: %s (%s)\n", step, text, p.elapsed())
	}
}

// Done ends a step well.
func (p *Progress) Done(step, text string) { p.end("✓", step, text) }

// Failed ends a step badly.
func (p *Progress) Failed(step string, err error) { p.end("✗", step, err.Error()) }

func (p *Progress) end(mark, step, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
		fmt.Fprint(p.out, "\r\033[K")
	}
	line := fmt.Sprintf("%s %s (%s)", mark, step, p.elapsed())
	if text != "" {
		line += ": " + text
	}
	fmt.Fprintln(p.out, line)
	p.step = ""
}

func (p *Progress) elapsed() string { return Seconds(time.Since(p.begun)) }

// draw writes the live line, cut to the terminal's width.
func (p *Progress) draw() {
	if p.step == "" {
		return
	}
	line := []rune(fmt.Sprintf("· %s (%s) %s", p.step, p.elapsed(), strings.ReplaceAll(p.note, "\n", " ")))
	if len(line) > p.width-1 {
		line = append(line[:p.width-2], '…')
	}
	fmt.Fprintf(p.out, "\r\033[K%s", string(line))
}

// Seconds writes a duration the way people read it: 0.4s, 12s, 3m05s.
func Seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	default:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
}
