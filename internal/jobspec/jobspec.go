// Package jobspec reads job protocol documents (version 2, YAML) into [pai.JobSpec].
//
// Use it where a job comes in. Its rules:
//
//   - All faults are reported at once, each with line and column, in the order of the document.
//   - Unknown keys are faults, except where the protocol leaves the choice to clients: in `extras` and `parameters`. In `extras`, a key that is one
//     of ours but for its case or one letter is a fault as well, and one that is less like it is a warning.
//   - What is read is bounded, aliases followed: a small document takes no long time, whatever is in it.
//   - What the protocol knows and this server cannot do is refused by name. Nothing that a document asks for is silently ignored when
//     ignoring it would change what the job does.
//   - Templates (<% $parameters.NAME %>) are replaced once, in commands: what a value holds is put in as it is.
//   - Values of `secrets` and passwords of registries are in the result's commands and registries alone. They are masked in its
//     Document, which otherwise is the source byte for byte, and no error quotes them.
//
// Example:
//
//	spec, err := jobspec.Parse(source)
//	// err: "line 9, column 5: taskRoles.worker.gpu: unknown key; ..."
package jobspec

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// MaxSize is the size of the largest document that is read.
const MaxSize = 256 << 10

// Parse reads one document. Its error is a *pai.Error with the code InvalidParametersError that names every fault.
func Parse(source []byte) (pai.JobSpec, error) {
	text, r, spec := read(source)
	if len(r.faults) > 0 {
		return pai.JobSpec{}, r.err()
	}
	var err error
	spec.Document, err = masked(text, r.tokens, r.secrets.values)
	if err != nil {
		return pai.JobSpec{}, err
	}
	return spec, nil
}

// Check reads a document for whoever has its file: the error is a *[yamltext.Faults], with the line of each fault unless it may hold a secret.
func Check(file string, source []byte) error {
	text, r, _ := read(source)
	return r.faultsIn(file, text)
}

// Locate tells what a server says of a good document at the first storage or virtual cluster that it names; nil when it names none.
func Locate(file string, source []byte, message string) error {
	text, r, _ := read(source)
	about, _, _ := strings.Cut(message, "You may use")
	words := strings.FieldsFunc(about, func(c rune) bool { return strings.ContainsRune(" ,:;", c) })
	at := slices.IndexFunc(r.named, func(named reference) bool {
		return slices.Contains(words, named.name) || slices.Contains(words, named.name+".")
	})
	if at < 0 || len(r.faults) > 0 {
		return nil
	}
	r.fault(r.named[at].at, "", "%s", message)
	return r.faultsIn(file, text)
}

func (r *reader) faultsIn(file string, text []byte) error {
	lines := strings.Split(string(text), "\n")
	hidden := r.hiddenLines(text, lines)
	faults := &yamltext.Faults{}
	for _, f := range r.faults {
		fault := yamltext.Fault{File: file, Line: f.at.Line, Column: f.at.Column, Text: f.text}
		switch {
		case f.at.Line == 0:
			fault.Text = strings.Replace(f.text, "the job document", "the file", 1)
		case f.at.Line <= len(lines) && !hidden(f.at.Line-1):
			fault.Source = strings.TrimRight(lines[f.at.Line-1], "\r")
		}
		faults.Add(fault)
	}
	return faults.Err()
}

// read reads a document; what is wrong with it is in the reader's faults.
func read(source []byte) ([]byte, *reader, pai.JobSpec) {
	text, file, faults := parseYAML(source)
	if len(faults) > 0 {
		return text, &reader{faults: faults}, pai.JobSpec{}
	}
	r := newReader(file.Bodies[0])
	r.tokens = file.Tokens
	return text, r, r.job(file.Bodies[0])
}

// parseYAML returns the text of a document, and what is in it.
func parseYAML(source []byte) ([]byte, *yamltext.File, []fault) {
	if len(source) > MaxSize {
		return nil, nil, []fault{{text: fmt.Sprintf("the job document is larger than %d KiB", MaxSize>>10)}}
	}
	text, err := yamltext.Text(source)
	if err != nil {
		return nil, nil, syntaxFaults(nil, err)
	}
	file, err := yamltext.Parse(text)
	switch {
	case err != nil:
		return text, nil, syntaxFaults(text, err)
	case len(file.Bodies) == 0:
		return text, nil, []fault{{text: "the job document is empty"}}
	case len(file.Bodies) > 1:
		second := yamltext.PositionOf(file.Bodies[1])
		return text, nil, []fault{{second, fmt.Sprintf("expected one YAML document, found %d: the second begins here", len(file.Bodies))}}
	}
	return text, file, nil
}

// syntaxFaults says why a text is no YAML. Where a tab is why, all lines from there on that begin with one are told.
func syntaxFaults(text []byte, err error) []fault {
	var syntax *yamltext.SyntaxError
	switch {
	case errors.Is(err, yamltext.ErrTooDeep):
		return []fault{{text: "the job document is nested too deeply"}}
	case !errors.As(err, &syntax) || syntax.Line == 0:
		return []fault{{text: err.Error()}}
	}
	at := yamltext.Position{Line: syntax.Line, Column: syntax.Column}
	var tabs []fault
	lines := strings.Split(string(text), "\n")
	for _, tab := range yamltext.Tabs(lines[min(at.Line-1, len(lines)):]) {
		tab.Line += at.Line - 1
		tabs = append(tabs, fault{tab, yamltext.TabFault})
	}
	if len(tabs) > 0 && tabs[0].at.Line == at.Line {
		return tabs
	}
	return []fault{{at, syntax.Message}}
}

// reader walks a document and collects its faults.
type reader struct {
	tokens   token.Tokens // all, comments included
	anchors  map[string]*ast.AnchorNode
	secrets  secretNodes
	meant    []ast.Node                                      // values that are secrets by what their misspelt keys are meant to be
	repeated map[*ast.MappingValueNode]*ast.MappingValueNode // pairs whose key stands there before
	refused  map[ast.Node]bool                               // aliases that must not be followed
	commands int                                             // how many were read
	steps    int                                             // keys and items that were read
	warnings []string                                        // about keys that may be meant as others
	mounts   mounts
	named    []reference // storages and the virtual cluster
	unsure   bool        // which secrets there are
	faults   []fault
	told     map[told]bool
}

// told is a fault without its path, but for the end: several keys may be missing at one place, and an alias leads to the same by many paths.
type told struct {
	fault
	key string
}

// fault is what is wrong at one place.
type fault struct {
	at   yamltext.Position // zero when the place is not known
	text string
}

func (f fault) String() string {
	if f.at.Line == 0 {
		return f.text
	}
	return f.at.String() + ": " + f.text
}

// newReader finds the anchors of a document and the secrets in it, and refuses aliases that mix secrets with the rest.
func newReader(root ast.Node) *reader {
	r := &reader{anchors: map[string]*ast.AnchorNode{}, refused: map[ast.Node]bool{}, told: map[told]bool{}, repeated: yamltext.Repeated(root)}
	yamltext.Visit(root, func(n ast.Node) {
		a, ok := n.(*ast.AnchorNode)
		if !ok || a.Name == nil || a.Name.GetToken() == nil {
			return
		}
		name := a.Name.GetToken().Value
		if first := r.anchors[name]; first != nil {
			r.fault(a, "", "this anchor (&) is given twice, first at %s", yamltext.PositionOf(first))
		}
		r.anchors[name] = a
	})
	for again, first := range r.repeated {
		r.fault(again, "", "this key is given twice, first at %s", yamltext.PositionOf(first))
	}
	r.secrets = r.findSecrets(root)
	r.refuseAliases(root)
	return r
}

// err is every fault in one text.
func (r *reader) err() error {
	slices.SortStableFunc(r.faults, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.at.Line, b.at.Line), cmp.Compare(a.at.Column, b.at.Column))
	})
	const most = 50 // a document that is wrong throughout must not fill screens
	var texts []string
	for _, f := range r.faults[:min(len(r.faults), most)] {
		texts = append(texts, f.String())
	}
	if n := len(r.faults); n > most {
		texts = append(texts, fmt.Sprintf("and %d more", n-most))
	}
	return pai.Errorf(pai.InvalidParametersError, "%s", strings.Join(texts, "; "))
}

func (r *reader) fault(n ast.Node, path, format string, args ...any) {
	if r.refused[n] {
		return // the fault is the alias itself
	}
	if r.steps > maxSteps {
		return // what was not read is not missing
	}
	f := fault{yamltext.PositionOf(n), fmt.Sprintf(format, args...)}
	item, _, _ := strings.Cut(path[strings.LastIndexByte(path, '.')+1:], "[") // of a list, any item
	if r.told[told{f, item}] && f.at.Line > 0 {
		return // an alias leads here once more
	}
	r.told[told{f, item}] = true
	if path != "" {
		f.text = path + ": " + f.text
	}
	r.faults = append(r.faults, f)
}

// resolve follows anchors, aliases and tags to the value itself.
func (r *reader) resolve(n ast.Node) ast.Node {
	for range 16 { // an alias may stand for another; more than a few is a loop
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		case *ast.AliasNode:
			target := r.target(v)
			if target == nil || r.refused[v] {
				return n
			}
			n = target.Value
		default:
			return n
		}
	}
	return n
}

// target returns the anchor that an alias names, nil when there is none.
func (r *reader) target(a *ast.AliasNode) *ast.AnchorNode {
	if a.Value == nil || a.Value.GetToken() == nil {
		return nil
	}
	return r.anchors[a.Value.GetToken().Value]
}
