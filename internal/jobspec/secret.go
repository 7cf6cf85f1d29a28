package jobspec

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// secretNodes says where a document holds secrets.
type secretNodes struct {
	values []ast.Node        // each value under `secrets`, and each password of a registry, as it is written
	roots  []ast.Node        // what is secret as a whole: the value of `secrets`, and the passwords
	auths  map[ast.Node]bool // values of `auth`; an alias of another one's is a value, too
}

// findSecrets looks where the reader is going to, and says nothing about mistakes: that is left to the reader.
func (r *reader) findSecrets(root ast.Node) secretNodes {
	found := secretNodes{auths: map[ast.Node]bool{}}
	known := map[ast.Node]bool{}
	for _, value := range r.valuesOf(root, "secrets") {
		found.roots = append(found.roots, value)
		for _, entry := range r.pairs(value) {
			if !known[entry.Value] {
				found.values = append(found.values, entry.Value)
			}
			known[entry.Value] = true
		}
	}
	for _, auth := range r.findAuths(root) {
		found.auths[auth] = true
		for _, password := range r.valuesOf(auth, "password") {
			if !known[password] {
				found.values = append(found.values, password)
				found.roots = append(found.roots, password)
			}
			known[password] = true
		}
	}
	return found
}

// findAuths returns the values of `auth` in the prerequisites.
func (r *reader) findAuths(root ast.Node) []ast.Node {
	var found []ast.Node
	seen := map[ast.Node]bool{} // an alias of a prerequisite has the same ones
	for _, list := range r.valuesOf(root, "prerequisites") {
		items, ok := r.resolve(list).(*ast.SequenceNode)
		if !ok {
			continue
		}
		for _, item := range items.Values {
			if v := r.resolve(item); !seen[v] {
				seen[v] = true
				found = append(found, r.valuesOf(v, "auth")...)
			}
		}
	}
	return found
}

// valuesOf returns what a mapping has under a key, which a wrong document may give twice.
func (r *reader) valuesOf(n ast.Node, key string) []ast.Node {
	var found []ast.Node
	for _, entry := range r.pairs(n) {
		if name, ok := yamltext.KeyText(entry.Key); ok && name == key && entry.Value != nil {
			found = append(found, entry.Value)
		}
	}
	return found
}

// refuseAliases refuses aliases that bring a secret to where it is not masked, and those that make a secret of what stands elsewhere.
func (r *reader) refuseAliases(root ast.Node) {
	secret := nodesIn(r.secrets.roots)
	masked := nodesIn(r.secrets.values)
	exposes := r.anchorsAround(secret)
	yamltext.Visit(root, func(n ast.Node) {
		alias, ok := n.(*ast.AliasNode)
		if !ok {
			return
		}
		target := r.target(alias)
		switch {
		case target == nil:
			return
		case secret[alias] && masked[target]:
			return
		case secret[alias]:
			r.fault(alias, "", "write the secret itself: what this alias (*) stands for is not masked")
		case r.secrets.auths[alias] && r.secrets.auths[target]:
			return
		case exposes[target]:
			r.fault(alias, "", "an alias (*) must not lead to a secret: write it where it belongs")
		}
		r.refused[alias] = exposes[target] || secret[alias]
	})
}

// anchorsAround returns the anchors that stand in a secret or around one.
func (r *reader) anchorsAround(secret map[ast.Node]bool) map[*ast.AnchorNode]bool {
	found := map[*ast.AnchorNode]bool{}
	for _, anchor := range r.anchors {
		yamltext.Visit(anchor, func(n ast.Node) {
			if secret[n] {
				found[anchor] = true
			}
		})
	}
	return found
}

// nodesIn returns nodes with everything in them.
func nodesIn(nodes []ast.Node) map[ast.Node]bool {
	found := map[ast.Node]bool{}
	for _, n := range nodes {
		yamltext.Visit(n, func(n ast.Node) {
			if n != nil {
				found[n] = true
			}
		})
	}
	return found
}

// secretName is what a secret can be called.
var secretName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$`)

// readSecrets reads `secrets`. Its faults name no key: where a colon was forgotten, the key holds the secret.
func (r *reader) readSecrets(path string, n ast.Node) map[string]string {
	secrets, before := map[string]string{}, len(r.faults)
	entries := r.entries(path, n)
	defer func() { r.unsure = len(r.faults) > before || len(entries) < len(r.pairs(n)) }()
	for _, entry := range entries {
		name, _ := yamltext.KeyText(entry.Key)
		text, ok := r.scalar(entry.Value)
		switch _, twice := secrets[name]; {
		case !ok:
			r.fault(entry, path, "expected NAME: VALUE, where the value is text")
		case !secretName.MatchString(name):
			r.fault(entry, path, "a secret is named with letters, digits, '_', '-' and '.', at most 253")
		case twice:
			r.fault(entry, path, "a name is given twice")
		default:
			secrets[name] = text
		}
	}
	return secrets
}

// passwordTemplate is a password that is one of the secrets.
var passwordTemplate = regexp.MustCompile(`^<%\s*\$secrets\.([^\s%]+)\s*%>$`)

// password returns the password of a registry. What looks like any other template is the password itself.
func (r *reader) password(a *auth, secrets map[string]string) string {
	m := passwordTemplate.FindStringSubmatch(strings.TrimSpace(a.password))
	if m == nil {
		return a.password
	}
	text, known := secrets[m[1]]
	if !known && !r.unsure {
		r.fault(a.at, a.path+".password", "no such secret")
	}
	return text
}
