package jobspec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pai-storage/pai-storage/internal/yamltext"
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

// entries returns the key-value pairs of a mapping, of one key the first alone; nil, with a fault unless it is empty, when n is none.
func (r *reader) entries(path string, n ast.Node) []*ast.MappingValueNode {
	if v := r.resolve(n); !isMapping(v) && !isNull(v) {
		r.fault(n, path, "expected a mapping: key: value")
	}
	if !r.walk(len(r.pairs(n))) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.pairs(n)), func(pair *ast.MappingValueNode) bool { return r.repeated[pair] != nil })
}

// walk counts what is read of a document. It tells whether that may go on: with aliases, little text makes a document without end.
func (r *reader) walk(steps int) bool {
	if r.steps > maxSteps {
		return false
	}
	if r.steps+steps > maxSteps {
		r.fault(nil, "", "the job document has more than %d keys and items, aliases followed", maxSteps)
	}
	r.steps += steps
	return r.steps <= maxSteps
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

// object reads a mapping with known keys. Unknown and missing ones are faults.
func (r *reader) object(path string, n ast.Node, fields map[string]field, required ...string) {
	seen, names := map[string]bool{}, slices.Sorted(maps.Keys(fields))
	given := map[string]bool{}
	for _, pair := range r.pairs(n) {
		if key, ok := yamltext.KeyText(pair.Key); ok && pair.Value != nil {
			given[key] = true
		}
	}
	r.each(path, n, func(key string, at ast.Node, value ast.Node) {
		read, known := fields[key]
		switch {
		case !known:
			near := r.unknown(path, key, at, value, names)
			if seen[near] = true; near != "" && !isNull(r.resolve(value)) && !given[near] {
				fields[near](join(path, key), value) // as it is meant, so that its own faults are told, and nothing that follows from its absence
			}
		case !isNull(r.resolve(value)):
			read(join(path, key), value)
			seen[key] = true
		case slices.Contains(required, key):
			r.fault(at, join(path, key), "missing: nothing stands behind the key")
			seen[key] = true
		}
	})
	missing := slices.DeleteFunc(required, func(key string) bool { return seen[key] })
	if v := r.resolve(n); isMapping(v) || isNull(v) { // else it is told that it is no mapping
		r.missing(path, n, missing)
	}
}

// missing notes keys that are not in a mapping.
func (r *reader) missing(path string, n ast.Node, missing []string) {
	switch {
	case len(missing) == 0:
	case len(missing) == 1:
		r.fault(n, join(path, missing[0]), "missing")
	default:
		r.fault(n, path, "missing: %s", strings.Join(missing, ", "))
	}
}

// unknown notes a key that does not exist, and returns the one that is most likely meant, "" when none is near.
func (r *reader) unknown(path, key string, at, value ast.Node, known []string) string {
	near := yamltext.Nearest(key, known)
	if near == "" {
		r.fault(at, join(path, key), "unknown key; there are: %s", strings.Join(known, ", "))
		return ""
	}
	if near == "secrets" || near == "auth" {
		r.meant = append(r.meant, value)
	}
	r.fault(at, join(path, key), "unknown key: did you mean %s?", near)
	return near
}

// didYouMean is the end of a fault about a name that does not exist.
func didYouMean(name string, known []string) string {
	if near := yamltext.Nearest(name, known); near != "" {
		return fmt.Sprintf(": did you mean %.60s?", near)
	}
	return ""
}

// some reads the known keys of a mapping in which others may have keys of their own, unless these are almost known ones. What may or may not be meant as
// one is a warning.
func (r *reader) some(path string, n ast.Node, fields map[string]field) {
	names := slices.Sorted(maps.Keys(fields))
	r.each(path, n, func(key string, at, value ast.Node) {
		if read, known := fields[key]; known {
			read(join(path, key), value)
		} else if near := yamltext.Nearest(key, names); near != "" && yamltext.Almost(key, near) {
			r.fault(at, join(path, key), "unknown key: did you mean %s?", near)
		} else if near != "" && len(r.warnings) < maxWarnings {
			r.warnings = append(r.warnings, fmt.Sprintf("%s: nothing is known here of that name; did you mean %s?", join(path, key), near))
		}
	})
}

// each visits the pairs of a mapping whose keys are free.
func (r *reader) each(path string, n ast.Node, visit func(key string, at, value ast.Node)) {
	for _, entry := range r.entries(path, n) {
		switch key, ok := yamltext.KeyText(entry.Key); {
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
		r.fault(n, path, "expected a list: begin each item with \"- \"")
		return
	}
	if !r.walk(len(seq.Values)) {
		return
	}
	for i, v := range seq.Values {
		if isNull(v) && i < len(seq.Entries) && seq.Entries[i].Start != nil {
			v = ast.Null(seq.Entries[i].Start)
		}
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
