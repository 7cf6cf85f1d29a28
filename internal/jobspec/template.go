package jobspec

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

const (
	maxParameters     = 4096
	maxParameterDepth = 16
)

// templateKinds are the types of prerequisites that templates can name.
var templateKinds = []string{"script", "data", "output"}

// parameters reads `parameters`. The names of nested ones are joined with dots, as templates write them.
func (r *reader) parameters(path string, n ast.Node) map[string]string {
	found := map[string]string{}
	visited := 0
	var read func(prefix string, depth int, n ast.Node)
	read = func(prefix string, depth int, n ast.Node) {
		r.each(join(path, prefix), n, func(key string, at, value ast.Node) {
			name := key
			if prefix != "" {
				name = prefix + "." + key
			}
			visited++
			text, ok := r.scalar(value)
			_, twice := found[name]
			switch v := r.resolve(value); {
			case visited == maxParameters+1: // aliases can make a small document large
				r.fault(n, path, "expected at most %d parameters", maxParameters)
			case visited > maxParameters:
			case twice:
				r.fault(at, join(path, name), "given twice")
			case ok || isNull(v):
				found[name] = text
			case isMapping(v) && depth < maxParameterDepth:
				read(name, depth+1, value)
			case isMapping(v):
				r.fault(at, join(path, name), "nested too deeply")
			default:
				r.fault(value, join(path, name), "expected text, a number, a boolean or a mapping of those")
			}
		})
	}
	read("", 1, n)
	return found
}

// scope is what the templates in the commands of one task role can name.
type scope struct {
	values map[string]map[string]string // "$parameters" -> NAME -> value
	what   map[string]string            // "$parameters" -> how a fault calls it
}

const secretsScope = "$secrets"

func (d *document) scopeOf(role role) scope {
	s := scope{
		values: map[string]map[string]string{"$parameters": d.parameters, secretsScope: d.secrets},
		what:   map[string]string{"$parameters": "parameter", secretsScope: "secret"},
	}
	for _, kind := range templateKinds {
		use, given := role.uses[kind]
		if !given {
			continue
		}
		s.what["$"+kind] = "field of the role's " + kind
		if p := d.prerequisites[prerequisiteKey{kind, use.name}]; p != nil {
			s.values["$"+kind] = p.fields
		}
	}
	return s
}

// rendered is a command with its templates replaced.
type rendered struct {
	text   string
	secret bool // it holds the value of a secret
}

// render replaces the templates in a command, once: values are put in as they are. It stops where the text gets longer than most.
func (r *reader) render(c command, s scope, most int) rendered {
	var out strings.Builder
	secret := false
	rest := c.text
	for out.Len() <= most {
		before, after, found := strings.Cut(rest, "<%")
		out.WriteString(before)
		if !found {
			break
		}
		name, behind, closed := strings.Cut(after, "%>")
		if !closed {
			r.fault(c.at, c.path, "a template begins with <%% here and does not end with %%>")
			break
		}
		source, key, _ := strings.Cut(strings.TrimSpace(name), ".")
		out.WriteString(r.lookup(c, s, source, key))
		secret = secret || source == secretsScope
		rest = behind
	}
	return rendered{out.String(), secret}
}

// lookup returns the value of source.key, with a fault when there is none.
func (r *reader) lookup(c command, s scope, source, key string) string {
	value, known := s.values[source][key]
	switch kind := strings.TrimPrefix(source, "$"); {
	case known, source == secretsScope && r.unsure: // what is wrong with the secrets is told
	case s.what[source] != "":
		r.fault(c.at, c.path, "<%% %.60s.%.60s %%>: there is no such %s%s", source, key, s.what[source], namesIn(s.values[source]))
	case source != kind && slices.Contains(templateKinds, kind):
		r.fault(c.at, c.path, "<%% %.60s.%.60s %%>: the task role names no %s", source, key, kind)
	default:
		r.fault(c.at, c.path, "expected <%% $parameters.NAME %%>, $secrets.NAME, $script.FIELD, $data.FIELD or $output.FIELD, found %.60q", source)
	}
	return value
}

// namesIn lists what there is, when that helps.
func namesIn(values map[string]string) string {
	if len(values) == 0 || len(values) > 8 {
		return ""
	}
	return " (there are " + strings.Join(slices.Sorted(maps.Keys(values)), ", ") + ")"
}
