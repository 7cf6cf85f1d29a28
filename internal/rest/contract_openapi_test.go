package rest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// servedDocument is the OpenAPI document as clients get it.
type servedDocument struct {
	operations map[string]servedOperation // by id
	schemas    map[string]any
}

type servedOperation struct {
	method, path string
	fields       map[string]any
}

func servedAPI(t *testing.T, s *servertest.Server) *servedDocument {
	t.Helper()
	_, text := do(t, s, "GET", "/openapi.json", "", "", "")
	document, _ := decodeJSON(t, text).(map[string]any)
	out := &servedDocument{operations: map[string]servedOperation{}, schemas: member(document, "components", "schemas")}
	for path, item := range member(document, "paths") {
		for method, op := range item.(map[string]any) {
			fields := op.(map[string]any)
			out.operations[fields["operationId"].(string)] = servedOperation{strings.ToUpper(method), path, fields}
		}
	}
	if len(out.operations) != len(operations(s)) {
		t.Errorf("%d operations are served, %d described", len(operations(s)), len(out.operations))
	}
	return out
}

// member goes down into objects; nil where there is none.
func member(object map[string]any, keys ...string) map[string]any {
	for _, key := range keys {
		object, _ = object[key].(map[string]any)
	}
	return object
}

// resolve follows a reference.
func (d *servedDocument) resolve(schema map[string]any) map[string]any {
	if ref, ok := schema["$ref"].(string); ok {
		return member(d.schemas, strings.TrimPrefix(ref, "#/components/schemas/"))
	}
	return schema
}

// checkDescribed looks for an operation's method, path, parameters, body and statuses in the description.
func (d *servedDocument) checkDescribed(t *testing.T, c contract) {
	t.Helper()
	op := d.operations[c.id]
	if op.method != c.method || op.path != c.path {
		t.Errorf("described as %s %s, want %s %s", op.method, op.path, c.method, c.path)
	}
	parameters, _ := op.fields["parameters"].([]any)
	for _, q := range c.query {
		if !slices.ContainsFunc(parameters, func(p any) bool {
			parameter := p.(map[string]any)
			return parameter["name"] == q.name && parameter["in"] == "query" && member(parameter, "schema")["type"] == q.shape.kind
		}) {
			t.Errorf("the query parameter %s is not described", q.name)
		}
	}
	if c.body != nil {
		body := member(op.fields, "requestBody", "content", c.bodyType, "schema")
		for _, fault := range d.unlike(c.body, body, "") {
			t.Errorf("the body %s: %s", c.bodyType, fault)
		}
	}
	for _, a := range c.answers {
		if member(op.fields, "responses", fmt.Sprint(a.status)) == nil && (a.codes == nil || member(op.fields, "responses", "default") == nil) {
			t.Errorf("the status %d is not described", a.status)
		}
	}
}

// unlike says where a description would refuse a body that the contract allows.
func (d *servedDocument) unlike(s *shape, schema map[string]any, at string) []string {
	schema = d.resolve(schema)
	want := map[string]string{"list": "array", "map": "object", "fields": "object"}[s.kind]
	if want == "" {
		want = s.kind
	}
	types, listed := schema["type"].([]any)
	if schema["type"] != want && (!listed || !slices.Contains(types, any(want))) {
		return []string{fmt.Sprintf("%q is described as %v, want %s", at, schema["type"], want)}
	}
	var out []string
	if s.kind == "list" {
		out = append(out, d.unlike(s.each, member(schema, "items"), at+"[]")...)
	}
	required, _ := schema["required"].([]any)
	for _, f := range s.fields {
		out = append(out, d.unlike(f.shape, member(schema, "properties", f.name), at+"."+f.name)...)
		if slices.Contains(required, any(f.name)) && !f.required {
			out = append(out, fmt.Sprintf("%q is required", at+"."+f.name))
		}
	}
	for _, name := range required {
		if s.kind == "fields" && !slices.ContainsFunc(s.fields, func(f field) bool { return f.name == name }) {
			out = append(out, fmt.Sprintf("%q is required, and the contract does not have it", at+"."+name.(string)))
		}
	}
	return out
}

// undeclared says which keys of an answer the description does not have.
func (d *servedDocument) undeclared(id string, status int, value any) []string {
	schema := member(d.operations[id].fields, "responses", fmt.Sprint(status), "content", "application/json", "schema")
	if schema == nil {
		return []string{fmt.Sprintf("the answer %d is not described", status)}
	}
	return d.keysBeyond(schema, value, "")
}

func (d *servedDocument) keysBeyond(schema map[string]any, value any, at string) []string {
	schema = d.resolve(schema)
	if schema == nil {
		return []string{fmt.Sprintf("%q is not described", at)}
	}
	if either, ok := schema["oneOf"].([]any); ok {
		return d.keysBeyond(d.ofKind(either, value), value, at)
	}
	var out []string
	switch v := value.(type) {
	case []any:
		for _, each := range v {
			out = append(out, d.keysBeyond(member(schema, "items"), each, at+"[]")...)
		}
	case map[string]any:
		for key, inner := range v {
			property := member(schema, "properties", key)
			more, typed := schema["additionalProperties"].(map[string]any)
			switch {
			case property != nil:
				out = append(out, d.keysBeyond(property, inner, at+"."+key)...)
			case typed:
				out = append(out, d.keysBeyond(more, inner, at+".*")...)
			case schema["additionalProperties"] != true && !anything(schema):
				out = append(out, fmt.Sprintf("%q is not described", at+"."+key))
			}
		}
	}
	return out
}

// ofKind picks, of several descriptions, the one for a list or the one for an object.
func (d *servedDocument) ofKind(either []any, value any) map[string]any {
	want := "object"
	if _, list := value.([]any); list {
		want = "array"
	}
	for _, each := range either {
		schema, _ := each.(map[string]any)
		if schema = d.resolve(schema); strings.Contains(fmt.Sprint(schema["type"]), want) {
			return schema
		}
	}
	return nil
}

// anything tells whether a schema says nothing about what a value looks like.
func anything(schema map[string]any) bool {
	return schema["type"] == nil && schema["properties"] == nil && schema["items"] == nil
}

// TestSuccessesAreDescribed asks every operation of the server, not the contract's alone, as somebody who may, and looks for keys of the
// answers that are not described.
func TestSuccessesAreDescribed(t *testing.T) {
	s := servertest.Start(t, nil)
	api := servedAPI(t, s)
	who := "Bearer " + s.Token(t, "admin")
	check(t, s, "Bearer "+s.Token(t, "alice"), "POST", "/api/v2/jobs", "text/yaml", jobDocument("existing", ""), 202, "")
	for id, row := range whoTable() {
		if row.status[admin] >= 300 {
			continue // there is no such thing in this server
		}
		body := strings.NewReplacer("CALLER", "x", "SELF", "admin").Replace(row.body)
		resp, text := do(t, s, api.operations[id].method, row.path, row.typ, body, who)
		if resp.StatusCode != row.status[admin] {
			t.Errorf("%s: got %d %s", id, resp.StatusCode, text)
			continue
		}
		kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
		if kind != "application/json" {
			if member(api.operations[id].fields, "responses", fmt.Sprint(resp.StatusCode), "content", kind) == nil {
				t.Errorf("%s: an answer of type %s is not described", id, kind)
			}
			continue
		}
		for _, fault := range api.undeclared(id, resp.StatusCode, decodeJSON(t, text)) {
			t.Errorf("%s: %s: %s", id, fault, text)
		}
		if id == "basicLogout" {
			who = "Bearer " + s.Token(t, "admin")
		}
	}
}
