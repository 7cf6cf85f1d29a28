package rest_test

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

// contract is an operation of testdata/contract.txt.
type contract struct {
	id, method, path string
	query            []field
	bodyType         string
	body             *shape // nil: the operation takes none
	answers          []contractAnswer
}

// contractAnswer has a shape, codes, or neither, which stands for an answer without a body.
type contractAnswer struct {
	status int
	codes  []pai.Code
	shape  *shape
}

// shape is what a JSON value looks like.
type shape struct {
	kind   string  // a JSON type, "list", "map" (any keys), or "fields" (an object with these)
	each   *shape  // of a list or a map
	fields []field // of "fields"
}

type field struct {
	name     string
	required bool
	shape    *shape
}

// readContract reads testdata/contract.txt; what is written there is explained at its top.
func readContract(t *testing.T) []contract {
	t.Helper()
	text, err := os.ReadFile("testdata/contract.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseContract(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parseContract(text string) ([]contract, error) {
	var all []contract
	for n, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var err error
		switch words := strings.Fields(line); {
		case !strings.HasPrefix(line, " ") && len(words) == 3:
			all = append(all, contract{id: words[0], method: words[1], path: words[2]})
		case !strings.HasPrefix(line, " ") || len(all) == 0 || len(words) < 2:
			err = fmt.Errorf("expected an operation: id, method and path")
		default:
			err = all[len(all)-1].add(words)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", n+1, line, err)
		}
	}
	return all, nil
}

// add reads one line below an operation.
func (c *contract) add(words []string) error {
	rest := strings.Join(words[1:], " ")
	switch words[0] {
	case "query":
		s, err := parseShape("{" + rest + "}")
		if err == nil {
			c.query = append(c.query, s.fields...)
		}
		return err
	case "body":
		var err error
		c.bodyType = words[1]
		c.body, err = parseShape(strings.Join(words[2:], " "))
		return err
	}
	status, err := strconv.Atoi(words[0])
	if err != nil {
		return fmt.Errorf("expected query, body or a status")
	}
	a := contractAnswer{status: status}
	switch {
	case rest == "-":
	case status >= 400:
		for _, code := range words[1:] {
			a.codes = append(a.codes, pai.Code(code))
		}
	default:
		a.shape, err = parseShape(rest)
	}
	c.answers = append(c.answers, a)
	return err
}

func parseShape(text string) (*shape, error) {
	p := &shapeParser{rest: text}
	s, err := p.shape()
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = fmt.Errorf("%q is left over", p.rest)
	}
	return s, err
}

type shapeParser struct{ rest string }

// eat takes a piece of text off the front, if it is there.
func (p *shapeParser) eat(text string) bool {
	var found bool
	p.rest, found = strings.CutPrefix(strings.TrimLeft(p.rest, " "), text)
	return found
}

func (p *shapeParser) word() string {
	p.rest = strings.TrimLeft(p.rest, " ")
	end := strings.IndexAny(p.rest, " ,!{}[]")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func (p *shapeParser) shape() (*shape, error) {
	switch {
	case p.eat("{"):
		return p.fields()
	case p.eat("["):
		each, err := p.shape()
		if err == nil && !p.eat("]") {
			err = fmt.Errorf("no ] before %q", p.rest)
		}
		return &shape{kind: "list", each: each}, err
	}
	switch word := p.word(); word {
	case "map":
		each, err := p.shape()
		return &shape{kind: "map", each: each}, err
	case "string", "integer", "number", "boolean", "object":
		return &shape{kind: word}, nil
	default:
		return nil, fmt.Errorf("%q is no type", cmp.Or(word, p.rest))
	}
}

func (p *shapeParser) fields() (*shape, error) {
	s := &shape{kind: "fields"}
	for !p.eat("}") {
		if len(s.fields) > 0 && !p.eat(",") {
			return nil, fmt.Errorf("no comma before %q", p.rest)
		}
		f := field{name: p.word(), required: p.eat("!")}
		var err error
		if f.shape, err = p.shape(); err != nil {
			return nil, err
		}
		s.fields = append(s.fields, f)
	}
	return s, nil
}

// places are all places in a shape that have a value of their own, named as [shape.faults] names them.
func (s *shape) places(at string) []string {
	out := []string{at}
	if s.each != nil {
		out = append(out, s.each.places(at+"[]")...)
	}
	for _, f := range s.fields {
		out = append(out, f.shape.places(at+"."+f.name)...)
	}
	return out
}

func TestContractParser(t *testing.T) {
	for text, want := range map[string]string{
		"x GET /x\n  200 {a! string":             "no comma",
		"x GET /x\n  200 {a text}":               `"text" is no type`,
		"x GET /x\n  200 [string":                "no ]",
		"x GET /x\n  200 string {}":              "left over",
		"x GET":                                  "expected an operation",
		"  200 string":                           "expected an operation",
		"x GET /x\n  sometimes string":           "expected query, body or a status",
		"# why\n\nx GET /x\n  body a/b {a what}": `line 4`,
	} {
		if _, err := parseContract(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	all, err := parseContract("x PUT /x/{y}\n  query b boolean\n  body a/b {c! [{d string}]}\n  200 map {e! object}\n  400 A B\n  302 -\n")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	c := all[0]
	if got := fmt.Sprint(c.body.places(""), c.answers[0].shape.places("")); got != "[ .c .c[] .c[].d] [ [] [].e]" {
		t.Errorf("got %s", got)
	}
	if len(c.query) != 1 || c.query[0].shape.kind != "boolean" || len(c.answers[1].codes) != 2 || c.answers[2].shape != nil {
		t.Errorf("got %+v", c)
	}
}
