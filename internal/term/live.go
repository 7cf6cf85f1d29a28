package term

import (
	"fmt"
	"io"
)

// Live shows a state that changes: one line that changes on a terminal, a line for each new state elsewhere.
type Live struct {
	out   io.Writer
	live  bool
	width func() int // of the terminal, which may change; lines are cut to it, because one that wraps cannot be replaced
	last  string
}

// NewLive shows a state on w.
func NewLive(w io.Writer) *Live {
	return &Live{out: w, live: Is(w), width: func() int { return Width(w) }}
}

// Set shows the state as it is now.
func (l *Live) Set(state string) {
	state = Plain(state)
	if state == l.last {
		return
	}
	l.last = state
	if l.live {
		fmt.Fprintf(l.out, "\r\033[K%s", Cut(state, max(l.width()-1, 0)))
		return
	}
	fmt.Fprintln(l.out, state)
}

// End leaves the last state standing, whole, and goes to the next line.
func (l *Live) End() {
	if l.live && l.last != "" {
		fmt.Fprintf(l.out, "\r\033[K%s\n", l.last)
	}
	l.last = ""
}
