// Package yamltext parses YAML so that what is found can be pointed at, and replaced, in the source. [Faults] is how people are told what is wrong there.
//
// Use it to read what people write. Its rules:
//
//   - Positions are those of the source, in bytes: the YAML library's own count characters and miss some.
//   - Errors quote nothing of the source, which may hold secrets.
//   - No input makes it panic, or recurse without end.
//   - A byte order mark is no part of a source; what is no UTF-8 is no source, and is not guessed at.
//
// Example:
//
//	doc, err := yamltext.Parse(source)
//	// err: "line 3, column 1: unexpected key name"
package yamltext

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// ErrTooDeep is nesting that no document of people has.
var ErrTooDeep = errors.New("nested too deeply")

// SyntaxError says where a source is no YAML, and why.
type SyntaxError struct {
	Line, Column int // 0 when the place is not known
	Message      string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// File is a parsed source.
type File struct {
	Tokens token.Tokens // all, comments included
	Bodies []ast.Node   // of the documents that are not empty
}

// byteOrderMark is what some editors begin a UTF-8 file with. It says nothing.
var byteOrderMark = []byte("\uFEFF")

// Text returns a source without its byte order mark. Its error is a *SyntaxError, for a source that is no UTF-8. Positions, [Spans] included,
// are those of what it returns.
func Text(source []byte) ([]byte, error) {
	text := bytes.TrimPrefix(source, byteOrderMark)
	if utf16(source) {
		return nil, &SyntaxError{Message: `the text is in UTF-16, which Notepad calls "Unicode": save it as UTF-8`}
	}
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			line := text[bytes.LastIndexByte(text[:at], '\n')+1 : at]
			return nil, &SyntaxError{1 + bytes.Count(text[:at], []byte("\n")), utf8.RuneCount(line) + 1, "a character that is not in UTF-8: save the text as UTF-8"}
		}
		at += size
	}
	return text, nil
}

// utf16 tells whether a source is in UTF-16: by its mark, or because every other byte of its beginning is zero.
func utf16(source []byte) bool {
	if len(source) < 2 {
		return false
	}
	first, second := source[0], source[1]
	return first == 0xFF && second == 0xFE || first == 0xFE && second == 0xFF || (first == 0) != (second == 0)
}

// Parse reads a source. Its error is a *SyntaxError or ErrTooDeep. A key that is given twice is left to [Repeated].
func Parse(source []byte) (file *File, err error) {
	defer func() { // the YAML library panics on some input that is none
		if recover() != nil {
			file, err = nil, &SyntaxError{Message: "not YAML"}
		}
	}()
	if source, err = Text(source); err != nil {
		return nil, err
	}
	if tooDeep(source) {
		return nil, ErrTooDeep
	}
	tokens := lexer.Tokenize(string(source))
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Syntax(err)
	}
	file = &File{Tokens: tokens}
	for _, doc := range parsed.Docs {
		if _, comment := doc.Body.(*ast.CommentGroupNode); doc.Body != nil && !comment {
			file.Bodies = append(file.Bodies, doc.Body)
		}
	}
	return file, nil
}

// tooDeep bounds the recursion of the YAML parser: real documents nest a dozen levels.
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

// quotedText is what a message of the YAML library quotes from the document, which may be a part of a secret. Brackets and commas are its
// own words.
var quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:\\[^']*'?|[^\[\]{},\t'\\])'`)

// Syntax turns an error of the YAML library into one that quotes nothing.
func Syntax(err error) *SyntaxError {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		p := at.GetToken().Position
		return &SyntaxError{p.Line, p.Column, quotedText.ReplaceAllString(at.GetMessage(), "…")}
	}
	return &SyntaxError{Message: "not YAML"}
}

// Visit calls visit for a node and everything in it. Aliases are visited, and not followed.
func Visit(n ast.Node, visit func(ast.Node)) {
	if n != nil {
		ast.Walk(visitor(visit), n)
	}
}

type visitor func(ast.Node)

// Visit implements [ast.Visitor].
func (v visitor) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}

// KeyText is a key as text, without what YAML allows before it: an anchor, a tag, the sign of an explicit key. False where the key is no text, be it
// that it is an alias, which is not followed.
func KeyText(key ast.Node) (string, bool) {
	for range 4 {
		switch k := key.(type) {
		case *ast.MappingKeyNode:
			key = k.Value
		case *ast.AnchorNode:
			key = k.Value
		case *ast.TagNode:
			key = k.Value
		}
	}
	switch k := key.(type) {
	case *ast.LiteralNode:
		if k.Value != nil {
			return k.Value.Value, true
		}
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode, *ast.MergeKeyNode:
		if k.GetToken() != nil {
			return k.GetToken().Value, true
		}
	}
	return "", false
}

// Repeated are the pairs of mappings whose key stands there before, each with the first pair that has it. Keys that are no text, as [KeyText] has it, are
// not compared.
func Repeated(n ast.Node) map[*ast.MappingValueNode]*ast.MappingValueNode {
	found := map[*ast.MappingValueNode]*ast.MappingValueNode{}
	Visit(n, func(n ast.Node) {
		mapping, ok := n.(*ast.MappingNode)
		if !ok {
			return
		}
		first := map[string]*ast.MappingValueNode{}
		for _, pair := range mapping.Values {
			key, ok := KeyText(pair.Key)
			if !ok {
				continue
			}
			if first[key] != nil {
				found[pair] = first[key]
			} else {
				first[key] = pair
			}
		}
	})
	return found
}

// TokensOf returns the tokens of a node and everything in it, in no order.
func TokensOf(n ast.Node) []*token.Token {
	var found []*token.Token
	Visit(n, func(n ast.Node) {
		switch v := n.(type) {
		case nil:
			return
		case *ast.AnchorNode:
			found = append(found, v.Start)
		case *ast.AliasNode:
			found = append(found, v.Start)
		case *ast.TagNode:
			found = append(found, v.Start)
		case *ast.LiteralNode:
			found = append(found, v.Start)
		default:
			found = append(found, n.GetToken())
		}
	})
	return found
}

// Span is a part of a source, in bytes.
type Span struct{ Start, End int }

// Spans finds the tokens in the source, from the first visible character of each to behind its last. What the lexer says about positions
// counts characters and misses some; its texts are complete but for white space. False when they are not.
func Spans(source []byte, tokens token.Tokens) ([]Span, bool) {
	where := make([]Span, len(tokens))
	at := 0
	for i, t := range tokens {
		s := Span{-1, -1}
		for _, want := range t.Origin {
			if isSpace(want) {
				continue
			}
			at = skipSpace(source, at)
			got, size := utf8.DecodeRune(source[at:])
			if size == 0 || got != want {
				return nil, false
			}
			if s.Start < 0 {
				s.Start = at
			}
			at += size
			s.End = at
		}
		if s.Start < 0 { // the text of an empty block
			s = Span{at, at}
		}
		where[i] = s
	}
	return where, skipSpace(source, at) == len(source)
}

func isSpace(c rune) bool { return strings.ContainsRune(" \t\r\n", c) }

func skipSpace(source []byte, at int) int {
	for at < len(source) && isSpace(rune(source[at])) {
		at++
	}
	return at
}
