package jobspec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

const (
	imageKind = "dockerimage" // the type of the prerequisites that are images
	dockerHub = "https://index.docker.io/v1/"
	maxURIs   = 256 // of one prerequisite
	maxName   = 1024
)

// prerequisiteKey names a prerequisite: each type has names of its own.
type prerequisiteKey struct{ kind, name string }

// prerequisite is something that task roles use.
type prerequisite struct {
	fields map[string]string // what templates can name
	image  string            // of a dockerimage
	at     ast.Node
}

// auth is how to sign in at a registry.
type auth struct {
	path                       string
	at                         ast.Node
	username, password, server string
}

func (r *reader) prerequisite(path string, n ast.Node, d *document) {
	p := &prerequisite{fields: map[string]string{}}
	var kind, uri, sign ast.Node // what may be written there depends on the type, which may come later
	r.object(path, n, map[string]field{
		"protocolVersion": r.setField(p.fields, "protocolVersion"),
		"name":            r.prerequisiteText(p.fields, "name"),
		"type":            func(path string, n ast.Node) { kind = n; p.fields["type"], _ = r.text(path, n) },
		"version":         r.setField(p.fields, "version"),
		"contributor":     r.setField(p.fields, "contributor"),
		"description":     r.setField(p.fields, "description"),
		"auth":            func(_ string, n ast.Node) { sign = n },
		"uri":             func(_ string, n ast.Node) { uri = n },
	}, "name", "type")
	key := prerequisiteKey{p.fields["type"], p.fields["name"]}
	switch {
	case key.kind == imageKind:
		p.image = r.imageURI(path, n, uri)
	case slices.Contains(templateKinds, key.kind):
		r.uris(path+".uri", uri, p.fields)
	case key.kind != "":
		r.fault(kind, path+".type", "expected dockerimage, script, data or output")
	}
	if sign != nil && key.kind != imageKind {
		r.fault(sign, path+".auth", "only a dockerimage has one")
	}
	if sign != nil {
		if !r.secrets.auths[sign] { // the key of the prerequisites is misspelt, or its own
			r.meant = append(r.meant, sign)
		}
		d.auths = append(d.auths, r.auth(path+".auth", sign))
	}
	p.at = n
	if first := d.prerequisites[key]; first != nil && key.name != "" {
		r.fault(n, path, "another prerequisite of type %.60s is named %.60q, at %s", key.kind, key.name, yamltext.PositionOf(first.at))
	}
	d.prerequisites[key] = p
}

// setField makes a field that keeps text for templates; what is no text, nobody can use there.
func (r *reader) setField(fields map[string]string, key string) field {
	return func(_ string, n ast.Node) {
		if text, ok := r.scalar(n); ok {
			fields[key] = text
		}
	}
}

// prerequisiteText makes a field that keeps text for templates, and must be text.
func (r *reader) prerequisiteText(fields map[string]string, key string) field {
	return func(path string, n ast.Node) { fields[key], _ = r.text(path, n) }
}

// imageURI reads the uri of a dockerimage, which prerequisite n must have.
func (r *reader) imageURI(path string, n, uri ast.Node) string {
	if uri == nil {
		r.fault(n, path+".uri", "missing")
		return ""
	}
	image, ok := r.text(path+".uri", uri)
	switch {
	case ok && !isWord(image):
		r.fault(uri, path+".uri", "expected the name of a container image")
	case strings.Contains(image, "<%"):
		r.fault(uri, path+".uri", "templates (<%% ... %%>) are replaced in commands only: write the image out")
	}
	return image
}

// isWord tells whether s is a name without spaces and of a sensible length.
func isWord(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// uris reads the uri of a script, data or output: one or a list. Templates name all of them as uri, and one as uri[0].
func (r *reader) uris(path string, n ast.Node, fields map[string]string) {
	if n == nil {
		return
	}
	if _, list := r.resolve(n).(*ast.SequenceNode); !list {
		fields["uri"], _ = r.text(path, n)
		fields["uri[0]"] = fields["uri"]
		return
	}
	var all []string
	size := 0
	r.shortList(path, n, maxURIs, func(p string, n ast.Node) {
		text, _ := r.text(p, n)
		if size += len(text); size > MaxSize {
			r.fault(n, path, "larger than %d KiB in all", MaxSize>>10)
			return
		}
		fields[fmt.Sprintf("uri[%d]", len(all))] = text
		all = append(all, text)
	})
	fields["uri"] = strings.Join(all, " ")
}

// auth reads how to sign in at a registry. Its faults name no unknown key: where a colon was forgotten, the key holds the password.
func (r *reader) auth(path string, n ast.Node) *auth {
	a := &auth{path: path, at: n, server: dockerHub}
	keys := map[string]*string{"username": &a.username, "password": &a.password, "registryuri": &a.server}
	given := map[string]bool{}
	for _, entry := range r.entries(path, n) {
		key, _ := yamltext.KeyText(entry.Key)
		to, known := keys[key]
		switch {
		case !known || given[key]:
			r.fault(entry, path, "expected username, password and registryuri, each once")
		case !isNull(r.resolve(entry.Value)):
			*to, _ = r.text(path+"."+key, entry.Value)
			given[key] = true
		}
	}
	r.missing(path, n, slices.DeleteFunc([]string{"username", "password"}, func(key string) bool { return given[key] }))
	if strings.ContainsFunc(a.username, func(c rune) bool { return c < ' ' || c == ':' }) || strings.Contains(a.username, "<%") {
		r.fault(n, path+".username", "expected a name without ':', and without a template")
	}
	if !isWord(a.server) || strings.Contains(a.server, "<%") {
		r.fault(n, path+".registryuri", "expected the address of a registry, such as registry.example.org")
	}
	return a
}

// images puts the images of the prerequisites where the task roles name them, and checks the other names there.
func (r *reader) images(d *document) {
	for i, role := range d.roles {
		for kind, use := range role.uses {
			p := d.prerequisites[prerequisiteKey{kind, use.name}]
			switch {
			case p == nil && !d.misfiled(use.name):
				r.fault(use.at, use.path, "no prerequisite of type %s is named %.60q%s", kind, use.name, didYouMean(use.name, d.prerequisiteNames(kind)))
			case p == nil:
			case kind == imageKind:
				d.spec.TaskRoles[i].Image = p.image
			}
		}
	}
}

// misfiled tells whether a prerequisite of that name has a type that does not exist, which is a fault already.
func (d *document) misfiled(name string) bool {
	for key := range d.prerequisites {
		if key.name == name && key.kind != imageKind && !slices.Contains(templateKinds, key.kind) {
			return true
		}
	}
	return false
}

// prerequisiteNames are those of one type.
func (d *document) prerequisiteNames(kind string) []string {
	var names []string
	for key := range d.prerequisites {
		if key.kind == kind {
			names = append(names, key.name)
		}
	}
	slices.Sort(names)
	return names
}

// registries collects where to sign in for images.
func (r *reader) registries(d *document) {
	for _, a := range d.auths {
		registry := pai.Registry{Server: a.server, Username: a.username, Password: r.password(a, d.secrets)}
		if !slices.Contains(d.spec.Registries, registry) {
			d.spec.Registries = append(d.spec.Registries, registry)
		}
	}
}
