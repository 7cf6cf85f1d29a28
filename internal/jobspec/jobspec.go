// Package jobspec reads job protocol documents (version 2, YAML) into [pai.JobSpec].
//
// Use it where a job comes in. Its rules:
//
//   - All faults are reported at once, each with line and column, in the order of the document.
//   - Unknown keys are faults, except where the protocol leaves the choice to clients: in `extras` and `parameters`.
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
	source, tokens, root, err := parseYAML(source)
	if err != nil {
		return pai.JobSpec{}, err
	}
	r := newReader(root)
	spec := r.job(root)
	if err := r.err(); err != nil {
		return pai.JobSpec{}, err
	}
	spec.Document, err = masked(source, tokens, r.secrets.values)
	if err != nil {
		return pai.JobSpec{}, err
	}
	return spec, nil
}

// parseYAML returns the text of the document, all its tokens, comments included, and its root.
func parseYAML(source []byte) ([]byte, token.Tokens, ast.Node, error) {
	if len(source) > MaxSize {
		return nil, nil, nil, pai.Errorf(pai.InvalidParametersError, "the job document is larger than %d KiB", MaxSize>>10)
	}
	text, err := yamltext.Text(source)
	if err != nil {
		return nil, nil, nil, pai.Errorf(pai.InvalidParametersError, "%v", err)
	}
	file, err := yamltext.Parse(text)
	switch {
	case errors.Is(err, yamltext.ErrTooDeep):
		return nil, nil, nil, pai.Errorf(pai.InvalidParametersError, "the job document is nested too deeply")
	case err != nil:
		return nil, nil, nil, pai.Errorf(pai.InvalidParametersError, "%v", err)
	case len(file.Bodies) == 0:
		return nil, nil, nil, pai.Errorf(pai.InvalidParametersError, "the job document is empty")
	case len(file.Bodies) > 1:
		return nil, nil, nil, pai.Errorf(pai.InvalidParametersError, "expected one YAML document, found %d", len(file.Bodies))
	}
	return text, file.Tokens, file.Bodies[0], nil
}

// reader walks a document and collects its faults.
type reader struct {
	anchors  map[string]*ast.AnchorNode
	secrets  secretNodes
	refused  map[ast.Node]bool // aliases that must not be followed
	commands int               // how many were read
	faults   []fault
}

// fault is what is wrong at one place.
type fault struct {
	line, column int // 0 when the place is not known
	text         string
}

// newReader finds the anchors of a document and the secrets in it, and refuses aliases that mix secrets with the rest.
func newReader(root ast.Node) *reader {
	r := &reader{anchors: map[string]*ast.AnchorNode{}, refused: map[ast.Node]bool{}}
	yamltext.Visit(root, func(n ast.Node) {
		a, ok := n.(*ast.AnchorNode)
		if !ok || a.Name == nil || a.Name.GetToken() == nil {
			return
		}
		name := a.Name.GetToken().Value
		if r.anchors[name] != nil {
			r.fault(a, "", "this anchor (&) is given twice")
		}
		r.anchors[name] = a
	})
	r.secrets = r.findSecrets(root)
	r.refuseAliases(root)
	return r
}

func (r *reader) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	const most = 50 // a document that is wrong throughout must not fill screens
	var texts []string
	for _, f := range r.faults[:min(len(r.faults), most)] {
		texts = append(texts, f.text)
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
	f := fault{text: fmt.Sprintf(format, args...)}
	if path != "" {
		f.text = path + ": " + f.text
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		f.line, f.column = t.Position.Line, t.Position.Column
		f.text = fmt.Sprintf("line %d, column %d: %s", f.line, f.column, f.text)
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
