package term

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// Table prints rows under a header, in columns. Control characters in cells, which could reprogram a terminal, become "?".
func Table(w io.Writer, header []string, rows [][]string) error { return table(w, header, rows, 0) }

// CutTable is a Table whose lines are cut to the width of the terminal. Where w is none they are whole.
func CutTable(w io.Writer, header []string, rows [][]string) error {
	return table(w, header, rows, Width(w))
}

func table(w io.Writer, header []string, rows [][]string, width int) error {
	var text bytes.Buffer
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	if len(header) > 0 {
		fmt.Fprintln(t, strings.Join(header, "\t"))
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Plain(cell)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) { // an empty last cell takes part in its column, and leaves no blanks behind
		if _, err := fmt.Fprintln(w, Cut(strings.TrimRight(line, " \n"), width)); err != nil {
			return err
		}
	}
	return nil
}

// Plain replaces the control characters of s, line breaks included, by "?".
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}
