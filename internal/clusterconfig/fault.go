package clusterconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Fault is one thing that is wrong, and where.
type Fault struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // from 1; 0 is the file as a whole
	Column int    `json:"column,omitempty"`
	Text   string `json:"message"`

	source string // the line; "" where it holds a password
}

// Error is the fault with its line and a caret under the place.
func (f Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	head := fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Text)
	if f.source == "" {
		return head
	}
	// The same white space before the caret as before the place, tabs included.
	before := []rune(f.source)
	before = before[:min(max(f.Column-1, 0), len(before))]
	for i, r := range before {
		if r != '\t' {
			before[i] = ' '
		}
	}
	return fmt.Sprintf("%s\n    %s\n    %s^", head, f.source, string(before))
}

// Faults are all that is wrong.
type Faults struct{ List []Fault }

// maxFaults bounds what is shown: files that are wrong throughout must not fill screens.
const maxFaults = 50

// Error is a text with every fault.
func (f *Faults) Error() string {
	var b strings.Builder
	for i, fault := range f.List {
		if i == maxFaults {
			fmt.Fprintf(&b, "and %d more\n", len(f.List)-i)
			break
		}
		b.WriteString(fault.Error() + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Add notes one more.
func (f *Faults) Add(fault Fault) { f.List = append(f.List, fault) }

// Err is nil without a fault, else all of them, by their places.
func (f *Faults) Err() error {
	if len(f.List) == 0 {
		return nil
	}
	slices.SortStableFunc(f.List, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f
}

// nearest is the candidate that somebody who typed word most likely meant; "" when none is near.
func nearest(word string, candidates []string) string {
	best, distance := "", max(2, len(word)/5)+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance is Levenshtein's: insertions, deletions, replacements.
func editDistance(a, b string) int {
	row := make([]int, utf8.RuneCountInString(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range []rune(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range []rune(b) {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(row)-1]
}
