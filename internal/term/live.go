package term

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Live shows a state that changes: one line that changes on a terminal, a line for each new state elsewhere.
type Live struct {
	out  io.Writer
	live bool
	last string
}

// NewLive shows a state on w.
func NewLive(w io.Writer) *Live {
	f, ok := w.(*os.File)
	return &Live{out: w, live: ok && term.IsTerminal(int(f.Fd()))}
}

// Set shows the state as it is now.
func (l *Live) Set(state string) {
	state = Plain(state)
	if state == l.last {
		return
	}
	l.last = state
	if l.live {
		fmt.Fprintf(l.out, "\r\033[K%s", state)
		return
	}
	fmt.Fprintln(l.out, state)
}

// End leaves the last state standing and goes to the next line.
func (l *Live) End() {
	if l.live && l.last != "" {
		fmt.Fprintln(l.out)
	}
	l.last = ""
}
