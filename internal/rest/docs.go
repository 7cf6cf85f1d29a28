package rest

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs/docs.html
var docsTemplate string

// docsPage is the data of the documentation page: the OpenAPI document, as people read it.
type docsPage struct {
	Version string
	Tags    []docsTag
}

type docsTag struct {
	Name       string
	Operations []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description string
	Who                                    string
	Parameters                             []docsField
	Body                                   []docsField // of the request
	BodyTypes                              string
	Answers                                []docsAnswer
}

type docsField struct {
	Name, In, Type, Description string
	Required                    bool
}

type docsAnswer struct {
	Status, Description string
	Fields              []docsField
}

// renderDocs makes the documentation page. It is one file: it loads nothing, and has no scripts.
func renderDocs(api *huma.OpenAPI) ([]byte, error) {
	page := docsPage{Version: api.Info.Version}
	byTag := map[string][]docsOperation{}
	for path, item := range api.Paths {
		for method, op := range methodsOf(item) {
			tag := "more"
			if len(op.Tags) > 0 {
				tag = op.Tags[0]
			}
			byTag[tag] = append(byTag[tag], describeOperation(api, path, method, op))
		}
	}
	for name, operations := range byTag {
		slices.SortFunc(operations, func(a, b docsOperation) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
		})
		page.Tags = append(page.Tags, docsTag{name, operations})
	}
	slices.SortFunc(page.Tags, func(a, b docsTag) int { return cmp.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	t, err := template.New("docs").Parse(docsTemplate)
	if err == nil {
		err = t.Execute(&out, page)
	}
	return out.Bytes(), err
}

// methodsOf is the operations of a path.
func methodsOf(item *huma.PathItem) map[string]*huma.Operation {
	out := map[string]*huma.Operation{}
	for method, op := range map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodDelete: item.Delete, http.MethodPatch: item.Patch,
	} {
		if op != nil {
			out[method] = op
		}
	}
	return out
}

func describeOperation(api *huma.OpenAPI, path, method string, op *huma.Operation) docsOperation {
	d := docsOperation{ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Description: op.Description, Who: whoMay(op)}
	for _, p := range op.Parameters {
		field := docsField{Name: p.Name, In: p.In, Required: p.Required, Description: p.Description}
		if p.Schema != nil {
			field.Type, field.Description = typeText(api, p.Schema), cmp.Or(p.Description, p.Schema.Description)
		}
		d.Parameters = append(d.Parameters, field)
	}
	if op.RequestBody != nil {
		var types []string
		for mediaType, media := range op.RequestBody.Content {
			types = append(types, mediaType)
			d.Body = fieldsOfSchema(api, media.Schema, "", 0)
		}
		slices.Sort(types)
		d.BodyTypes = strings.Join(types, ", ")
	}
	for status, answer := range op.Responses {
		a := docsAnswer{Status: status, Description: answer.Description}
		for _, media := range answer.Content {
			a.Fields = fieldsOfSchema(api, media.Schema, "", 0)
		}
		d.Answers = append(d.Answers, a)
	}
	slices.SortFunc(d.Answers, func(a, b docsAnswer) int { return cmp.Compare(a.Status, b.Status) })
	return d
}

// whoMay says in words what the security of an operation says.
func whoMay(op *huma.Operation) string {
	var who []string
	for _, way := range op.Security {
		scopes, bearer := way["bearer"]
		_, application := way["application"]
		switch {
		case bearer && len(scopes) > 0:
			who = append(who, "administrators, with a bearer token")
		case bearer:
			who = append(who, "people, with a bearer token")
		case application:
			who = append(who, "applications, with Basic and an application token")
		default:
			who = append(who, "everybody")
		}
	}
	return strings.Join(who, "; ")
}

// maxDepth keeps the page readable.
const maxDepth = 4

// fieldsOfSchema lists the fields of an object, those of objects in it below each.
func fieldsOfSchema(api *huma.OpenAPI, schema *huma.Schema, at string, depth int) []docsField {
	schema = resolve(api, schema)
	if schema == nil || depth > maxDepth {
		return nil
	}
	if schema.Type == huma.TypeArray {
		return fieldsOfSchema(api, schema.Items, at+"[]", depth+1)
	}
	var out []docsField
	names := make([]string, 0, len(schema.Properties))
	for name := range schema.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		property := schema.Properties[name]
		path := strings.TrimPrefix(at+"."+name, ".")
		out = append(out, docsField{Name: path, Type: typeText(api, property), Required: slices.Contains(schema.Required, name),
			Description: property.Description})
		out = append(out, fieldsOfSchema(api, property, path, depth+1)...)
	}
	if each, ok := schema.AdditionalProperties.(*huma.Schema); ok {
		out = append(out, fieldsOfSchema(api, each, at+".*", depth+1)...)
	}
	return out
}

func resolve(api *huma.OpenAPI, schema *huma.Schema) *huma.Schema {
	if schema != nil && schema.Ref != "" {
		return api.Components.Schemas.SchemaFromRef(schema.Ref)
	}
	return schema
}

func typeText(api *huma.OpenAPI, schema *huma.Schema) string {
	schema = resolve(api, schema)
	switch {
	case schema == nil:
		return ""
	case schema.Type == huma.TypeArray:
		return "list of " + cmp.Or(typeText(api, schema.Items), "anything")
	case len(schema.Enum) > 0:
		var values []string
		for _, v := range schema.Enum {
			text, err := json.Marshal(v)
			if err != nil {
				continue // the document itself could not be written either
			}
			values = append(values, string(text))
		}
		return strings.Join(values, " or ")
	}
	return strings.TrimSpace(schema.Type + " " + schema.Format)
}

// docsPolicy lets the page show itself and nothing else.
const docsPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func docsHandler(page []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", docsPolicy)
		w.Write(page)
	}
}
