package jobspec

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// Bounds of the commands of a whole document, in which aliases can make much of little.
const (
	maxCommands     = 10000
	maxCommandBytes = 1 << 20 // templates replaced
	maxDeployments  = 64
)

// command is one command as it is written.
type command struct {
	at         ast.Node
	path, text string
}

// deployment is a set of commands that go before and behind those of task roles.
type deployment struct {
	name  string
	roles []deployedRole
}

type deployedRole struct {
	at        ast.Node
	path      string
	name      string
	pre, post []command
}

func (r *reader) commandList(path string, n ast.Node) []command {
	if seq, ok := r.resolve(n).(*ast.SequenceNode); ok {
		if r.commands += len(seq.Values); r.commands > maxCommands {
			r.fault(n, path, "expected at most %d commands in all", maxCommands)
			return nil
		}
	}
	var found []command
	r.list(path, n, func(p string, n ast.Node) {
		text, _ := r.text(p, n)
		found = append(found, command{n, p, text})
	})
	return found
}

func (r *reader) deployments(path string, n ast.Node, d *document) {
	seen := map[string]ast.Node{}
	r.shortList(path, n, maxDeployments, func(p string, n ast.Node) {
		var dep deployment
		at := n
		r.object(p, n, map[string]field{
			"name":      func(p string, n ast.Node) { at = n; dep.name, _ = r.text(p, n) },
			"taskRoles": func(p string, n ast.Node) { dep.roles = r.deployedRoles(p, n) },
		}, "name", "taskRoles")
		if first := seen[dep.name]; first != nil {
			r.fault(at, p+".name", "another deployment has this name, at %s", yamltext.PositionOf(first))
		} else if dep.name != "" {
			seen[dep.name] = at
		}
		d.deployments = append(d.deployments, dep)
	})
}

func (r *reader) deployedRoles(path string, n ast.Node) []deployedRole {
	if len(r.pairs(n)) > maxRoles {
		r.fault(n, path, "expected at most %d task roles", maxRoles)
		return nil
	}
	var found []deployedRole
	r.each(path, n, func(name string, at, value ast.Node) {
		p := join(path, name)
		role := deployedRole{at: at, path: p, name: name}
		r.object(p, value, map[string]field{
			"preCommands":  func(p string, n ast.Node) { role.pre = r.commandList(p, n) },
			"postCommands": func(p string, n ast.Node) { role.post = r.commandList(p, n) },
		})
		found = append(found, role)
	})
	return found
}

// allCommands makes the commands of the task roles: those of the chosen deployment around their own, templates replaced. Deployments that
// are not chosen are checked the same way.
func (r *reader) allCommands(d *document) {
	scopes := map[string]scope{}
	lists := make(map[string][]command, len(d.roles))
	for i, role := range d.roles {
		name := d.spec.TaskRoles[i].Name
		scopes[name], lists[name] = d.scopeOf(role), role.commands
	}
	left := maxCommandBytes
	chosen := d.deployment.at == nil
	for _, dep := range d.deployments {
		this := d.deployment.at != nil && dep.name == d.deployment.name
		chosen = chosen || this
		for _, role := range dep.roles {
			s, known := scopes[role.name]
			switch {
			case !known && d.unread:
			case !known:
				r.fault(role.at, role.path, "no task role has this name%s", didYouMean(role.name, slices.Sorted(maps.Keys(scopes))))
			case this:
				lists[role.name] = concat(role.pre, lists[role.name], role.post)
			default:
				r.renderAll(concat(role.pre, role.post), s, &left)
			}
		}
	}
	if !chosen {
		r.fault(d.deployment.at, d.deployment.path, "no deployment is named %.60q%s", d.deployment.name, didYouMean(d.deployment.name, d.deploymentNames()))
	}
	for i := range d.spec.TaskRoles {
		role := &d.spec.TaskRoles[i]
		role.Commands, role.SecretCommands = r.renderAll(lists[role.Name], scopes[role.Name], &left)
	}
}

func (d *document) deploymentNames() []string {
	var names []string
	for _, dep := range d.deployments {
		names = append(names, dep.name)
	}
	return names
}

func concat(lists ...[]command) []command {
	var all []command
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// renderAll replaces the templates in commands, and tells whether one then holds a secret. It takes their length from left.
func (r *reader) renderAll(commands []command, s scope, left *int) (texts []string, secret bool) {
	for _, c := range commands {
		if *left < 0 {
			return texts, secret // said once
		}
		made := r.render(c, s, *left)
		if *left -= max(len(made.text), len(c.text)); *left < 0 {
			r.fault(c.at, c.path, "the commands of this document are larger than %d KiB with their templates replaced", maxCommandBytes>>10)
		}
		if strings.ContainsRune(made.text, 0) {
			r.fault(c.at, c.path, "a command must not contain NUL")
		}
		texts = append(texts, made.text)
		secret = secret || made.secret
	}
	return texts, secret
}
