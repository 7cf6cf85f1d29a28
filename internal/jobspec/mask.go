package jobspec

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	pai "github.com/pai-storage/pai-storage"
)

// mask is what stands for a secret.
const mask = "******"

// masked returns the document with a mask in place of each secret, and everything else byte for byte. What it cannot mask with certainty,
// it refuses.
//
// Certainty comes from three sides: every visible character of the source belongs to one token, and those of the secrets' tokens are left
// out; the result has the same tokens otherwise, comments included; and it reads as a document whose secrets are all the mask.
func masked(source []byte, tokens token.Tokens, secrets []ast.Node) ([]byte, error) {
	if len(secrets) == 0 {
		return bytes.Clone(source), nil
	}
	roles, ok := rolesOf(tokens, secrets)
	if !ok {
		return nil, errMask()
	}
	where, ok := spans(source, tokens)
	if !ok {
		return nil, errMask()
	}
	var out bytes.Buffer
	at := 0
	for i, s := range where {
		switch roles[i] {
		case visible:
			continue
		case begins:
			out.Write(source[at:s.start])
			out.WriteString(`"` + mask + `"`)
		case belongs:
			if roles[i-1] == visible { // a comment between the parts of a secret
				out.Write(source[at:s.start])
			}
		}
		at = s.end
	}
	out.Write(source[at:])
	if !isMasked(out.Bytes(), tokens, roles, len(secrets)) {
		return nil, errMask()
	}
	return out.Bytes(), nil
}

func errMask() error {
	return pai.Errorf(pai.InvalidParametersError,
		"a secret or password in this document cannot be masked the way it is written: write it in double quotes, in one line")
}

// tokenRole is what masking does with a token.
type tokenRole int

const (
	visible tokenRole = iota // stays
	begins                   // the first of a secret: becomes the mask
	belongs                  // a further one of a secret: goes
)

// rolesOf finds the tokens of the secrets: anchor, tag, the sign of a block, the text. Comments among them stay.
func rolesOf(tokens token.Tokens, secrets []ast.Node) ([]tokenRole, bool) {
	index := make(map[*token.Token]int, len(tokens))
	for i, t := range tokens {
		index[t] = i
	}
	roles := make([]tokenRole, len(tokens))
	for _, secret := range secrets {
		first, last := len(tokens), -1
		for _, t := range tokensOf(secret) {
			i, known := index[t]
			if !known {
				return nil, false
			}
			first, last = min(first, i), max(last, i)
		}
		if last < 0 {
			return nil, false
		}
		for i := first; i <= last; i++ {
			if tokens[i].Type != token.CommentType {
				roles[i] = belongs
			}
		}
		roles[first] = begins
	}
	return roles, true
}

// tokensOf returns the tokens of a scalar.
func tokensOf(n ast.Node) []*token.Token {
	var found []*token.Token
	visitAll(n, func(n ast.Node) {
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

// span is a part of the source.
type span struct{ start, end int }

// spans finds the tokens in the source, from the first visible character of each to behind its last. What the lexer says about positions
// counts characters and misses some; its texts are complete but for white space. False when they are not.
func spans(source []byte, tokens token.Tokens) ([]span, bool) {
	where := make([]span, len(tokens))
	at := 0
	for i, t := range tokens {
		s := span{-1, -1}
		for _, want := range t.Origin {
			if isSpace(want) {
				continue
			}
			at = skipSpace(source, at)
			got, size := utf8.DecodeRune(source[at:])
			if size == 0 || got != want {
				return nil, false
			}
			if s.start < 0 {
				s.start = at
			}
			at += size
			s.end = at
		}
		if s.start < 0 { // the text of an empty block
			s = span{at, at}
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

// isMasked reads a masked document again: it must have the tokens of its source but for the secrets, and all secrets must be the mask.
func isMasked(document []byte, source token.Tokens, roles []tokenRole, secrets int) bool {
	tokens, root, err := parseYAML(document)
	if err != nil {
		return false
	}
	type essence struct {
		kind  token.Type
		value string
	}
	var want, got []essence
	for i, t := range source {
		switch roles[i] {
		case visible:
			want = append(want, essence{t.Type, t.Value})
		case begins:
			want = append(want, essence{token.DoubleQuoteType, mask})
		}
	}
	for _, t := range tokens {
		got = append(got, essence{t.Type, t.Value})
	}
	if !slices.Equal(want, got) {
		return false
	}
	r := newReader(root)
	for _, n := range r.secrets.values {
		if text, ok := r.scalar(n); !ok || text != mask {
			return false
		}
	}
	return len(r.secrets.values) == secrets && len(r.faults) == 0
}
