package cli

import (
	"io"
	"strings"
)

// Streams are the standard streams of a run.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer

	result any  // printed when the run ends, where it is for programs
	lines  bool // the result was printed as JSON Lines already; what is still to say is a line, too
}

// lineWriter calls a function with each line that is written to it.
type lineWriter struct {
	emit func(line string) error
	rest string // the beginning of a line
}

// Write is what io.Writer asks for.
func (w *lineWriter) Write(p []byte) (int, error) {
	lines := strings.Split(w.rest+string(p), "\n")
	w.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		if err := w.emit(line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// end is the last line, when nothing ended it.
func (w *lineWriter) end() error {
	if w.rest == "" {
		return nil
	}
	line := w.rest
	w.rest = ""
	return w.emit(line)
}
