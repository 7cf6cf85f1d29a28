package yamltext

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Fault is one thing that is wrong, and where.
type Fault struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // from 1; 0 is the file as a whole
	Column int    `json:"column,omitempty"`
	Text   string `json:"message"`

	Source string `json:"-"` // the line; "" where it may hold a secret
}

// Position is a place in a text, from 1; 0 is the text as a whole.
type Position struct{ Line, Column int }

func (p Position) String() string { return fmt.Sprintf("line %d, column %d", p.Line, p.Column) }

// PositionOf is where a node begins: a mapping does with its first key.
func PositionOf(n ast.Node) Position {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return Position{}
	}
	token := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && m.Values[0].Key != nil {
		token = m.Values[0].Key.GetToken()
	}
	if m, ok := n.(*ast.MappingValueNode); ok && m.Key != nil {
		token = m.Key.GetToken()
	}
	return Position{token.Position.Line, token.Position.Column}
}

// Error is the fault with its line and a caret under the place.
func (f Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	head := fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Text)
	if f.Source == "" {
		return head
	}
	// The same white space before the caret as before the place, tabs included.
	before := []rune(f.Source)
	before = before[:min(max(f.Column-1, 0), len(before))]
	for i, r := range before {
		if r != '\t' {
			before[i] = ' '
		}
	}
	return fmt.Sprintf("%s\n    %s\n    %s^", head, f.Source, string(before))
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

// Tabs are the places where a line is indented with a tab, the first one alone of lines that follow each other.
func Tabs(lines []string) []Position {
	var found []Position
	before := false
	for i, line := range lines {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		tab := strings.HasPrefix(line[indent:], "\t") && strings.TrimSpace(line) != ""
		if tab && !before {
			found = append(found, Position{i + 1, indent + 1})
		}
		before = tab
	}
	return found
}

// TabFault is what is wrong at such a place.
const TabFault = "a tab: indent with spaces"

// Err is nil without a fault, else all of them, by their places, and by their texts at one place: always in the same order.
func (f *Faults) Err() error {
	if len(f.List) == 0 {
		return nil
	}
	slices.SortStableFunc(f.List, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Text, b.Text))
	})
	return f
}

// maxNearest bounds the words that a nearest one is looked for, in bytes: who types more than that has not mistyped a name.
const maxNearest = 64

// Nearest is the candidate that somebody who typed word most likely meant; "" when none is near. Long texts are near nothing.
func Nearest(word string, candidates []string) string {
	if len(word) > maxNearest {
		return ""
	}
	best, distance := "", max(2, len(word)/5)+1
	for _, c := range candidates {
		if d := editDistance(word, c, distance); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// Almost tells whether a word is another one but for upper and lower case, or but for one letter.
func Almost(word, other string) bool {
	return len(word) <= maxNearest && editDistance(word, other, 2) < 2
}

// editDistance is Levenshtein's: insertions, deletions, replacements; upper and lower case are the same. What is not below most is most.
func editDistance(a, b string, most int) int {
	if len(b) > utf8.UTFMax*(utf8.RuneCountInString(a)+most) {
		return most
	}
	from, to := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	if max(len(from)-len(to), len(to)-len(from)) >= most {
		return most
	}
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range from {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range to {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
		if slices.Min(row) >= most {
			return most
		}
	}
	return min(row[len(to)], most)
}
