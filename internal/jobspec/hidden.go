package jobspec

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// secretWord is what a key of a secret has in its name, and what somebody may have meant by one.
var secretWord = regexp.MustCompile(`(?i)(secret|secert|serect|passw|pasw|pwd|token|credential|auth)[\w.-]*["']?\s*:`)

// hiddenLines tells which lines of a document, counted from 0, are not quoted: secrets may be in them. Of a document that is no YAML, that is every line from
// the first one on that has the key of a secret.
func (r *reader) hiddenLines(text []byte, lines []string) func(line int) bool {
	spans, known := r.secretSpans(text)
	return func(line int) bool {
		if r.tokens == nil {
			return slices.ContainsFunc(lines[:line+1], secretWord.MatchString)
		}
		return !known || secretWord.MatchString(lines[line]) || slices.ContainsFunc(spans, func(s yamltext.Span) bool { return s.Start <= line && line <= s.End })
	}
}

// secretSpans are the first and the last line of each part of the document that is secret, counted from 0. False when they are not known.
func (r *reader) secretSpans(text []byte) ([]yamltext.Span, bool) {
	where, ok := yamltext.Spans(text, r.tokens)
	if !ok {
		return nil, false
	}
	secret := slices.Concat(r.secrets.roots, r.meant)
	for auth := range r.secrets.auths {
		secret = append(secret, auth)
	}
	var spans []yamltext.Span
	for _, n := range secret {
		roles, ok := rolesOf(r.tokens, []ast.Node{n})
		if !ok {
			return nil, false
		}
		first := slices.Index(roles, begins)
		last := len(roles) - 1
		for roles[last] == visible {
			last--
		}
		line := func(at int) int { return bytes.Count(text[:at], []byte("\n")) }
		spans = append(spans, yamltext.Span{Start: line(where[first].Start), End: line(where[last].End)})
	}
	return spans, true
}
