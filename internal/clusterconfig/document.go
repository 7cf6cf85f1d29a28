package clusterconfig

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// document is a parsed file.
type document struct {
	name    string
	lines   []string
	faults  *Faults
	root    value
	anchors map[string]ast.Node
}

// place is where a value stands.
type place struct {
	doc          *document
	line, column int
}

// value is a node of a document.
type value struct {
	place
	node ast.Node
	key  string // under which it stands
}

// parse reads one file; nil, with a fault, when it is no YAML.
func parse(name string, text []byte, faults *Faults) *document {
	d := &document{name: name, faults: faults, anchors: map[string]ast.Node{}}
	if len(text) > maxFile {
		faults.Add(Fault{File: name, Text: fmt.Sprintf("larger than %d KiB", maxFile>>10)})
		return nil
	}
	text, err := yamltext.Text(text)
	if err != nil {
		d.unreadable(err)
		return nil
	}
	d.lines = strings.Split(string(text), "\n")
	for _, at := range yamltext.Tabs(d.lines) {
		place{d, at.Line, at.Column}.fault(yamltext.TabFault)
	}
	if len(yamltext.Tabs(d.lines)) > 0 {
		return nil
	}
	file, err := yamltext.Parse(text)
	if err != nil {
		d.unreadable(err)
		return nil
	}
	if len(file.Bodies) > 1 {
		d.at(file.Bodies[1]).fault("a second document begins here: the file has to be one")
		return nil
	}
	if len(file.Bodies) == 0 {
		d.root = value{place: place{doc: d}}
		return d
	}
	yamltext.Visit(file.Bodies[0], func(n ast.Node) {
		if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil && a.Name.GetToken() != nil {
			d.anchors[a.Name.GetToken().Value] = a.Value
		}
	})
	for again, first := range yamltext.Repeated(file.Bodies[0]) {
		key, _ := yamltext.KeyText(again.Key)
		d.at(again).fault("%s is there twice: first in line %d", key, d.at(first).line)
	}
	d.root = value{place: d.at(file.Bodies[0]), node: file.Bodies[0]}
	if !d.root.isMapping() {
		d.root.fault("expected a mapping: key: value")
		return nil
	}
	return d
}

// unreadable notes why a file is no YAML.
func (d *document) unreadable(err error) {
	var syntax *yamltext.SyntaxError
	if errors.As(err, &syntax) && syntax.Line > 0 {
		at, hint := place{d, syntax.Line, syntax.Column}, ""
		if syntax.Line <= len(d.lines) && secretLine.MatchString(d.lines[syntax.Line-1]) {
			hint = "; a password with such characters has to be in single quotes"
		}
		at.fault("%s%s", syntax.Message, hint)
		return
	}
	d.faults.Add(Fault{File: d.name, Text: err.Error()})
}

func (d *document) at(n ast.Node) place {
	at := yamltext.PositionOf(n)
	return place{d, at.Line, at.Column}
}

// fault notes what is wrong here. A line that may hold a password is not quoted.
func (p place) fault(format string, args ...any) {
	p.doc.faults.Add(p.describe(p.doc.name, fmt.Sprintf(format, args...)))
}

// describe makes the fault; file is where it is when nobody knows the place.
func (p place) describe(file, text string) Fault {
	if p.doc == nil {
		return Fault{File: file, Text: text}
	}
	f := Fault{File: p.doc.name, Line: p.line, Column: p.column, Text: text}
	if p.line >= 1 && p.line <= len(p.doc.lines) && !p.doc.hides(p.line-1) {
		f.Source = strings.TrimRight(p.doc.lines[p.line-1], "\r")
	}
	return f
}

// hides tells whether a line, counted from 0, may be a password's: it has a key of one, or stands below one and may be the rest of its value.
func (d *document) hides(line int) bool {
	if hidesSecret(d.lines[line]) {
		return true
	}
	pairs := maxFile // how deep the pairs above are, the least of them: one that is deeper than the key may be a part of its value
	for i := line - 1; i >= 0 && pairs > 0; i-- {
		if hidesSecret(d.lines[i]) {
			// Only a line that is no deeper than the key, and looks like another key, is surely none of its value.
			deeper := indent(d.lines[line]) > indent(d.lines[i])
			return pairs > indent(d.lines[i]) && (deeper || !anyKey.MatchString(d.lines[line]))
		}
		if m := anyPair.FindStringSubmatch(d.lines[i]); m != nil && !strings.ContainsAny(m[3][:1], "|>\"'") {
			pairs = min(pairs, indent(d.lines[i]))
		}
	}
	return false
}

// anyKey is a line that begins with a key.
var anyKey = regexp.MustCompile(`^\s*(?:-\s+)?[A-Za-z0-9_.-]+\s*:(?:\s|$)`)

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// faulty tells whether something is wrong in this line already.
func (p place) faulty() bool {
	return slices.ContainsFunc(p.doc.faults.List, func(f Fault) bool { return f.File == p.doc.name && f.Line == p.line })
}

// resolved follows anchors, aliases and tags to the value itself.
func (v value) resolved() ast.Node {
	n := v.node
	for range 16 {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.TagNode:
			n = x.Value
		case *ast.AliasNode:
			if x.Value == nil || x.Value.GetToken() == nil {
				return nil
			}
			n = v.doc.anchors[x.Value.GetToken().Value]
		default:
			return n
		}
	}
	return nil
}

func (v value) isNull() bool {
	switch n := v.resolved().(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return true
	case *ast.MappingNode:
		return n == nil
	}
	return false
}

func (v value) isMapping() bool {
	switch v.resolved().(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

func (v value) pairs() []*ast.MappingValueNode {
	switch n := v.resolved().(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// each visits the pairs of a mapping, and of one key the first alone.
func (v value) each(visit func(key string, v value)) {
	if v.node == nil || v.isNull() {
		return
	}
	if !v.isMapping() {
		v.fault("%s: expected a mapping", v.key)
		return
	}
	seen := map[string]bool{}
	for _, pair := range v.pairs() {
		key, ok := yamltext.KeyText(pair.Key)
		if !ok {
			v.fault("expected a key")
			continue
		}
		item := value{place: v.doc.at(pair.Key), node: pair.Value, key: key}
		if seen[key] {
			continue // which is a fault already
		}
		seen[key] = true
		visit(key, item)
	}
}

// find returns the value of a key.
func (v value) find(key string) (found value, ok bool) {
	for _, pair := range v.pairs() {
		if text, ok := yamltext.KeyText(pair.Key); ok && text == key {
			return value{place: v.doc.at(pair.Key), node: pair.Value, key: key}, true
		}
	}
	return value{}, false
}

func (v value) has(key string) bool {
	_, ok := v.find(key)
	return ok
}

func (v value) list() []value {
	if v.isNull() {
		return nil
	}
	n, ok := v.resolved().(*ast.SequenceNode)
	if !ok {
		v.fault("%s: expected a list", v.key)
		return nil
	}
	list := make([]value, 0, len(n.Values))
	for _, item := range n.Values {
		list = append(list, value{place: v.doc.at(item), node: item, key: v.key})
	}
	return list
}

// text is a scalar as it is written, without quotes.
func (v value) text() string {
	if v.misread() {
		return ""
	}
	switch n := v.resolved().(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value
	case nil, *ast.NullNode:
		return ""
	}
	v.fault("%s: expected a text", v.key)
	return ""
}

// isScalar tells whether a value is one text, number or word.
func (v value) isScalar() bool {
	switch v.resolved().(type) {
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

// misread tells whether a value was meant as a text that YAML reads as something else: "*x" as a reference to what is nowhere, "!x" as a kind
// of value that nobody knows. That is a fault.
func (v value) misread() bool {
	alias, is := v.node.(*ast.AliasNode)
	if tag, tagged := v.node.(*ast.TagNode); is && v.resolved() == nil && alias != nil ||
		tagged && tag.GetToken() != nil && !strings.HasPrefix(tag.GetToken().Value, "!!") {
		v.misreadFault()
		return true
	}
	return false
}

func (v value) misreadFault() {
	v.fault("%s: YAML reads this text as something else than it says: put it in single quotes", v.key)
}

// written is the rest of the line behind the key, as it stands there; "" where the key does not begin its line.
func (v value) written() string {
	if v.line < 1 || v.line > len(v.doc.lines) {
		return ""
	}
	m := firstKey.FindStringSubmatch(v.doc.lines[v.line-1])
	if m == nil || m[1] != v.key {
		return ""
	}
	return m[2]
}

// firstKey is a line's key, and what is behind it.
var firstKey = regexp.MustCompile(`^\s*(?:-\s+)?["']?([A-Za-z0-9_.-]+)["']?\s*:\s*(.*?)\s*$`)

// truth is a boolean, which the original writes as a text.
func (v value) truth() bool {
	switch strings.ToLower(v.text()) {
	case "true", "yes", "on":
		return true
	case "false", "no", "off", "":
		return false
	}
	v.fault(`%s: expected "true" or "false"`, v.key)
	return false
}

var dnsLabel = regexp.MustCompile(`^[A-Za-z0-9]([-._A-Za-z0-9]{0,251}[A-Za-z0-9])?$`)

func (v value) name(what string) string {
	text := v.text()
	if !dnsLabel.MatchString(text) {
		v.fault("%s: %q is not %s: letters, digits, '-' and '.'", v.key, text, what)
		return ""
	}
	return text
}

func (v value) address() netip.Addr {
	address, err := netip.ParseAddr(v.text())
	if err != nil || address.IsUnspecified() || address.IsMulticast() || address.IsLoopback() {
		v.fault("%s: %q is not the address of a machine, like 10.0.0.1", v.key, v.text())
		return netip.Addr{}
	}
	return address
}

// unknown is a key that does not exist.
func (v value) unknown(key string, known []string) {
	if near := yamltext.Nearest(key, known); near != "" {
		v.fault("unknown key %s: did you mean %s?", key, near)
		return
	}
	v.fault("unknown key %s; there are: %s", key, strings.Join(known, ", "))
}

// notMeant lets a key of somebody else through, unless it is almost one of ours.
func (v value) notMeant(key string, ours []string) {
	if near := yamltext.Nearest(key, ours); near != "" && near != key {
		v.fault("unknown key %s: did you mean %s?", key, near)
	}
}

func (v value) isList() bool {
	_, is := v.resolved().(*ast.SequenceNode)
	return is
}
