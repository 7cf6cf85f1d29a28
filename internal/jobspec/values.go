package jobspec

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// field reads the value of one key.
type field func(path string, n ast.Node)

// ignore accepts any value, where ignoring it changes nothing about the job.
func ignore(string, ast.Node) {}

// isNull tells whether a key was left empty, which is the same as leaving it out.
func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// entries returns the key-value pairs of a mapping; nil, with a fault unless it is empty, when n is none.
func (r *reader) entries(path string, n ast.Node) []*ast.MappingValueNode {
	if v := r.resolve(n); !isMapping(v) && !isNull(v) {
		r.fault(n, path, "expected a mapping")
	}
	return r.pairs(n)
}

// pairs returns the key-value pairs of a mapping; nil when n is none.
func (r *reader) pairs(n ast.Node) []*ast.MappingValueNode {
	switch v := r.resolve(n).(type) {
	case *ast.MappingNode:
		return v.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{v}
	}
	return nil
}

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// keyOf returns the key of a pair, which a document that is barely YAML may lack.
func keyOf(entry *ast.MappingValueNode) (string, bool) {
	if entry.Key == nil || entry.Key.GetToken() == nil {
		return "", false
	}
	return entry.Key.GetToken().Value, true
}

// object reads a mapping with known keys. Unknown, repeated and missing ones are faults.
func (r *reader) object(path string, n ast.Node, fields map[string]field, required ...string) {
	seen := map[string]bool{}
	r.each(path, n, func(key string, at ast.Node, value ast.Node) {
		read, known := fields[key]
		switch {
		case !known:
			r.fault(at, join(path, key), "unknown key")
		case seen[key]:
			r.fault(at, join(path, key), "given twice")
		case !isNull(r.resolve(value)):
			read(join(path, key), value)
			seen[key] = true
		}
	})
	for _, key := range required {
		if !seen[key] {
			r.fault(n, join(path, key), "missing")
		}
	}
}

// some reads the known keys of a mapping in which others may have keys of their own.
func (r *reader) some(path string, n ast.Node, fields map[string]field) {
	seen := map[string]bool{}
	r.each(path, n, func(key string, at, value ast.Node) {
		read, known := fields[key]
		switch {
		case !known:
			return
		case seen[key]:
			r.fault(at, join(path, key), "given twice")
		default:
			read(join(path, key), value)
		}
		seen[key] = true
	})
}

// each visits the pairs of a mapping whose keys are free.
func (r *reader) each(path string, n ast.Node, visit func(key string, at, value ast.Node)) {
	for _, entry := range r.entries(path, n) {
		switch key, ok := keyOf(entry); {
		case !ok:
			r.fault(entry, path, "expected a key")
		case entry.Key.IsMergeKey():
			r.fault(entry.Key, path, "merge keys (<<) are not supported: write the values out")
		default:
			visit(key, entry.Key, entry.Value)
		}
	}
}

func join(path, key string) string {
	if len(key) > 60 {
		key = key[:60] + "..."
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// list reads a sequence.
func (r *reader) list(path string, n ast.Node, item field) {
	seq, ok := r.resolve(n).(*ast.SequenceNode)
	if !ok {
		r.fault(n, path, "expected a list")
		return
	}
	for i, v := range seq.Values {
		item(path+"["+strconv.Itoa(i)+"]", v)
	}
}

// shortList reads a sequence of at most most items.
func (r *reader) shortList(path string, n ast.Node, most int, item field) {
	if seq, ok := r.resolve(n).(*ast.SequenceNode); ok && len(seq.Values) > most {
		r.fault(n, path, "expected at most %d items", most)
		return
	}
	r.list(path, n, item)
}

// text reads a scalar as text. Numbers and booleans count, as what was written: names such as 123 need no quotes.
func (r *reader) text(path string, n ast.Node) (string, bool) {
	text, ok := r.scalar(n)
	if !ok {
		r.fault(n, path, "expected text")
	}
	return text, ok
}

// scalar is text without a fault.
func (r *reader) scalar(n ast.Node) (string, bool) {
	switch v := r.resolve(n).(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	}
	return "", false
}

// integer reads a whole number of at least least and at most most.
func (r *reader) integer(path string, n ast.Node, least, most int) int {
	v, ok := r.resolve(n).(*ast.IntegerNode)
	if !ok {
		r.fault(n, path, "expected a whole number")
		return least
	}
	i, err := strconv.Atoi(strings.ReplaceAll(v.Token.Value, "_", ""))
	if err != nil || i < least || i > most {
		r.fault(n, path, "expected a whole number from %d to %d", least, most)
		return least
	}
	return i
}

// setText makes a field that stores text in place.
func (r *reader) setText(to *string) field {
	return func(path string, n ast.Node) { *to, _ = r.text(path, n) }
}

// setInteger makes a field that stores a whole number in place.
func (r *reader) setInteger(to *int, least, most int) field {
	return func(path string, n ast.Node) { *to = r.integer(path, n, least, most) }
}

// unsupported makes a field that refuses what this server cannot do, unless it is empty.
func (r *reader) unsupported(what string) field {
	return func(path string, n ast.Node) {
		switch v := r.resolve(n).(type) {
		case *ast.MappingNode:
			if len(v.Values) == 0 {
				return
			}
		case *ast.SequenceNode:
			if len(v.Values) == 0 {
				return
			}
		case *ast.BoolNode:
			if !v.Value {
				return
			}
		}
		r.fault(n, path, "this server does not support %s yet", what)
	}
}
