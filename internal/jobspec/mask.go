package jobspec

import (
	"bytes"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
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
	where, ok := yamltext.Spans(source, tokens)
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
			out.Write(source[at:s.Start])
			out.WriteString(`"` + mask + `"`)
		case belongs:
			if roles[i-1] == visible { // a comment between the parts of a secret
				out.Write(source[at:s.Start])
			}
		}
		at = s.End
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
		for _, t := range yamltext.TokensOf(secret) {
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

// isMasked reads a masked document again: it must have the tokens of its source but for the secrets, and all secrets must be the mask.
func isMasked(document []byte, source token.Tokens, roles []tokenRole, secrets int) bool {
	_, file, faults := parseYAML(document)
	if len(faults) > 0 {
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
	for _, t := range file.Tokens {
		got = append(got, essence{t.Type, t.Value})
	}
	if !slices.Equal(want, got) {
		return false
	}
	r := newReader(file.Bodies[0])
	for _, n := range r.secrets.values {
		if text, ok := r.scalar(n); !ok || text != mask {
			return false
		}
	}
	return len(r.secrets.values) == secrets && len(r.faults) == 0
}
