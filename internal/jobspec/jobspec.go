// Package jobspec reads job protocol documents (version 2, YAML) into [pai.JobSpec].
//
// Use it where a job comes in. Its rules:
//
//   - All faults are reported at once, each with line and column, in the order of the document.
//   - Unknown keys are faults, except where the protocol leaves the choice to clients: in `extras`, `parameters` and prerequisites' data.
//   - What the protocol knows and this server cannot do is refused by name. Nothing that a document asks for is silently ignored when
//     ignoring it would change what the job does.
//
// Example:
//
//	spec, err := jobspec.Parse(source)
//	// err: "line 9, column 5: taskRoles.worker.gpu: unknown key; ..."
package jobspec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	pai "github.com/pai-storage/pai-storage"
)

// MaxSize is the size of the largest document that is read.
const MaxSize = 256 << 10

// Parse reads one document. Its error is a *pai.Error with the code InvalidParametersError that names every fault.
func Parse(source []byte) (pai.JobSpec, error) {
	root, err := parseYAML(source)
	if err != nil {
		return pai.JobSpec{}, err
	}
	r := &reader{anchors: anchorsIn(root)}
	spec := r.job(root)
	spec.Document = source
	return spec, r.err()
}

func parseYAML(source []byte) (root ast.Node, err error) {
	defer func() { // the YAML library panics on some input that is none
		if recover() != nil {
			root, err = nil, pai.Errorf(pai.InvalidParametersError, "not YAML")
		}
	}()
	if len(source) > MaxSize {
		return nil, pai.Errorf(pai.InvalidParametersError, "the job document is larger than %d KiB", MaxSize>>10)
	}
	if tooDeep(source) {
		return nil, pai.Errorf(pai.InvalidParametersError, "the job document is nested too deeply")
	}
	file, err := parser.ParseBytes(source, 0)
	if err != nil {
		return nil, syntaxError(err)
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil, pai.Errorf(pai.InvalidParametersError, "the job document is empty")
	case 1:
		return bodies[0], nil
	}
	return nil, pai.Errorf(pai.InvalidParametersError, "expected one YAML document, found %d", len(bodies))
}

// tooDeep bounds the recursion of the YAML parser: real job documents nest a dozen levels.
func tooDeep(source []byte) bool {
	const most = 64
	depth, indents := 0, 0
	for i, b := range source {
		switch {
		case b == '[' || b == '{':
			depth++
		case b == ']' || b == '}':
			depth = max(depth-1, 0)
		case b == '\n':
			indents = 0
		case (b == '-' || b == '?' || b == ':') && i+1 < len(source) && source[i+1] == ' ':
			indents++ // "- - - -" nests as well
		}
		if depth > most || indents > most {
			return true
		}
	}
	return false
}

func syntaxError(err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		p := at.GetToken().Position
		return pai.Errorf(pai.InvalidParametersError, "line %d, column %d: %s", p.Line, p.Column, at.GetMessage())
	}
	return pai.Errorf(pai.InvalidParametersError, "not YAML: %v", err)
}

// reader walks a document and collects its faults.
type reader struct {
	anchors map[string]ast.Node
	faults  []string
}

func (r *reader) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	const most = 50 // a document that is wrong throughout must not fill screens
	if n := len(r.faults); n > most {
		r.faults = append(r.faults[:most], fmt.Sprintf("and %d more", n-most))
	}
	return pai.Errorf(pai.InvalidParametersError, "%s", strings.Join(r.faults, "; "))
}

func (r *reader) fault(n ast.Node, path, format string, args ...any) {
	where := ""
	if t := n.GetToken(); t != nil && t.Position != nil {
		where = fmt.Sprintf("line %d, column %d: ", t.Position.Line, t.Position.Column)
	}
	if path != "" {
		where += path + ": "
	}
	r.faults = append(r.faults, where+fmt.Sprintf(format, args...))
}

// anchorsIn finds the anchors (&name) of a document, for the aliases (*name) in it.
func anchorsIn(root ast.Node) map[string]ast.Node {
	found := map[string]ast.Node{}
	ast.Walk(anchorVisitor(found), root)
	return found
}

type anchorVisitor map[string]ast.Node

func (v anchorVisitor) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil && a.Name.GetToken() != nil {
		v[a.Name.GetToken().Value] = a.Value
	}
	return v
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
			if v.Value == nil || v.Value.GetToken() == nil {
				return n
			}
			target, ok := r.anchors[v.Value.GetToken().Value]
			if !ok {
				return n
			}
			n = target
		default:
			return n
		}
	}
	return n
}
