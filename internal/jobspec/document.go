package jobspec

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"

	pai "github.com/pai-storage/pai-storage"
)

// Bounds of the numbers in a document.
const (
	maxRoles     = 64
	maxInstances = 10000
	maxRetries   = 10000
	maxCPU       = 4096
	maxMemoryMB  = 64 << 20
	maxGPU       = 1024
)

// document is what is read before the parts are put together.
type document struct {
	spec     pai.JobSpec
	images   map[string]string // prerequisites of type dockerimage
	imageRef map[int]reference // task role -> what it says about its image
}

// reference is a name that another part of the document must define.
type reference struct {
	path, name string
	at         ast.Node
}

func (r *reader) job(root ast.Node) pai.JobSpec {
	d := &document{images: map[string]string{}, imageRef: map[int]reference{}}
	r.object("", root, map[string]field{
		"protocolVersion": func(p string, n ast.Node) { r.exactly(p, n, "2") },
		"type":            func(p string, n ast.Node) { r.exactly(p, n, "job") },
		"name":            func(p string, n ast.Node) { r.jobName(p, n, &d.spec.Name) },
		"version":         ignore,
		"contributor":     ignore,
		"description":     ignore,
		"parameters":      ignore, // commands that use them are refused
		"secrets":         r.unsupported("secrets"),
		"deployments":     r.unsupported("deployments"),
		"jobRetryCount":   func(p string, n ast.Node) { r.jobRetries(p, n) },
		"prerequisites": func(p string, n ast.Node) {
			r.list(p, n, func(p string, n ast.Node) { r.prerequisite(p, n, d) })
		},
		"taskRoles": func(p string, n ast.Node) { r.taskRoles(p, n, d) },
		"defaults":  func(p string, n ast.Node) { r.defaults(p, n, d) },
		"extras":    func(p string, n ast.Node) { r.extras(p, n, d) },
	}, "protocolVersion", "type", "name", "taskRoles")
	r.images(d)
	return d.spec
}

func (r *reader) exactly(path string, n ast.Node, want string) {
	if got, ok := r.text(path, n); ok && got != want {
		r.fault(n, path, "expected %s", want)
	}
}

func (r *reader) jobName(path string, n ast.Node, to *pai.JobName) {
	text, ok := r.text(path, n)
	if !ok {
		return
	}
	name, err := pai.ParseJobName(text)
	if err != nil {
		r.fault(n, path, "%v", err)
	}
	*to = name
}

func (r *reader) jobRetries(path string, n ast.Node) {
	if r.integer(path, n, -2, maxRetries) != 0 {
		r.fault(n, path, "this server does not retry whole jobs yet; taskRetryCount retries tasks")
	}
}

func (r *reader) prerequisite(path string, n ast.Node, d *document) {
	var name, kind string
	var uri ast.Node // what may be written there depends on the type, which may come later
	r.object(path, n, map[string]field{
		"protocolVersion": ignore,
		"name":            r.setText(&name),
		"type":            r.setText(&kind),
		"version":         ignore,
		"contributor":     ignore,
		"description":     ignore,
		"auth":            r.unsupported("private registries (auth)"),
		"uri":             func(_ string, n ast.Node) { uri = n },
	}, "name", "type")
	switch kind {
	case "dockerimage":
		d.images[name] = r.imageURI(path, n, uri)
	case "script", "data", "output", "":
	default:
		r.fault(n, path+".type", "expected dockerimage, script, data or output")
	}
}

// imageURI reads the uri of a dockerimage, which prerequisite n must have.
func (r *reader) imageURI(path string, n, uri ast.Node) string {
	if uri == nil {
		r.fault(n, path+".uri", "missing")
		return ""
	}
	image, ok := r.text(path+".uri", uri)
	if ok && (image == "" || len(image) > 1024 || strings.ContainsFunc(image, func(c rune) bool { return c <= ' ' || c > '~' })) {
		r.fault(uri, path+".uri", "expected the name of a container image")
	}
	return image
}

// roleName is the protocol's own rule; role names become parts of environment variables.
var roleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func (r *reader) taskRoles(path string, n ast.Node, d *document) {
	seen := map[string]bool{}
	r.each(path, n, func(name string, at, value ast.Node) {
		p := join(path, name)
		switch {
		case !roleName.MatchString(name):
			r.fault(at, p, "a task role is named with letters, digits and '_', at most 63")
		case seen[name]:
			r.fault(at, p, "given twice")
		}
		seen[name] = true
		d.spec.TaskRoles = append(d.spec.TaskRoles, r.taskRole(p, name, value, d))
	})
	if len(d.spec.TaskRoles) == 0 || len(d.spec.TaskRoles) > maxRoles {
		r.fault(n, path, "expected 1 to %d task roles", maxRoles)
	}
}

func (r *reader) taskRole(path, name string, n ast.Node, d *document) pai.TaskRole {
	role := pai.TaskRole{Name: name, Instances: 1, MinFailedInstances: 1}
	if isNull(r.resolve(n)) {
		r.fault(n, path, "expected a mapping")
		return role
	}
	index := len(d.spec.TaskRoles)
	r.object(path, n, map[string]field{
		"instances":      r.setInteger(&role.Instances, 1, maxInstances),
		"taskRetryCount": r.setInteger(&role.Retries, 0, maxRetries),
		"dockerImage": func(p string, n ast.Node) {
			text, _ := r.text(p, n)
			d.imageRef[index] = reference{path: p, name: text, at: n}
		},
		"data":                  ignore,
		"output":                ignore,
		"script":                ignore,
		"completion":            func(p string, n ast.Node) { r.completion(p, n, &role) },
		"extraContainerOptions": func(p string, n ast.Node) { r.containerOptions(p, n, &role) },
		"resourcePerInstance":   func(p string, n ast.Node) { r.resources(p, n, &role.Resources) },
		"commands":              func(p string, n ast.Node) { r.commands(p, n, &role) },
	}, "dockerImage", "resourcePerInstance", "commands")
	if role.MinSucceededInstances > role.Instances {
		r.fault(n, path+".completion.minSucceededInstances", "more than the role has instances")
	}
	return role
}

func (r *reader) completion(path string, n ast.Node, role *pai.TaskRole) {
	r.object(path, n, map[string]field{
		"minFailedInstances":    func(p string, n ast.Node) { role.MinFailedInstances = r.threshold(p, n) },
		"minSucceededInstances": func(p string, n ast.Node) { role.MinSucceededInstances = r.threshold(p, n) },
	})
}

// threshold reads a number of instances; -1 switches the rule off.
func (r *reader) threshold(path string, n ast.Node) int {
	v := r.integer(path, n, -1, maxInstances)
	if v == 0 {
		r.fault(n, path, "expected -1 (off) or at least 1")
	}
	return max(v, 0)
}

func (r *reader) containerOptions(path string, n ast.Node, role *pai.TaskRole) {
	r.object(path, n, map[string]field{
		"shmMB":      r.setInteger(&role.SharedMemoryMB, 1, maxMemoryMB),
		"infiniband": r.unsupported("infiniband"),
	})
}

func (r *reader) resources(path string, n ast.Node, to *pai.Resources) {
	r.object(path, n, map[string]field{
		"cpu":      r.setInteger(&to.CPU, 1, maxCPU),
		"memoryMB": r.setInteger(&to.MemoryMB, 1, maxMemoryMB),
		"gpu":      r.setInteger(&to.GPU, 0, maxGPU),
		"ports":    r.unsupported("ports"),
	}, "cpu", "memoryMB")
}

func (r *reader) commands(path string, n ast.Node, role *pai.TaskRole) {
	r.list(path, n, func(p string, n ast.Node) {
		text, ok := r.text(p, n)
		switch {
		case !ok:
		case strings.Contains(text, "<%"):
			r.fault(n, p, "this server does not support templates (<%% ... %%>) yet: write the value out")
		case strings.ContainsRune(text, 0):
			r.fault(n, p, "a command must not contain NUL")
		}
		role.Commands = append(role.Commands, text)
	})
	if len(role.Commands) == 0 {
		r.fault(n, path, "expected at least one command")
	}
}

func (r *reader) defaults(path string, n ast.Node, d *document) {
	r.object(path, n, map[string]field{
		"virtualCluster": r.setText(&d.spec.VirtualCluster),
		"deployment":     r.unsupported("deployments"),
	})
}

// extras reads what concerns us of `extras`; everything else there belongs to clients.
func (r *reader) extras(path string, n ast.Node, d *document) {
	seen := false
	r.each(path, n, func(key string, at, value ast.Node) {
		if key != "storages" {
			return
		}
		if seen {
			r.fault(at, join(path, key), "given twice")
		}
		seen = true
		r.storages(join(path, key), value, &d.spec.Storages)
	})
}

func (r *reader) storages(path string, n ast.Node, to *pai.StorageRequest) {
	if isNull(r.resolve(n)) {
		r.fault(n, path, "expected a list; [] means your default storages, and leaving the key out means none")
		return
	}
	r.list(path, n, func(p string, n ast.Node) {
		var w pai.WantedStorage
		r.object(p, n, map[string]field{
			"name":      func(p string, n ast.Node) { r.storageName(p, n, &w.Name) },
			"mountPath": func(p string, n ast.Node) { r.mountPath(p, n, &w.MountPath) },
		}, "name")
		to.Wanted = append(to.Wanted, w)
	})
	to.Defaults = len(to.Wanted) == 0
}

func (r *reader) storageName(path string, n ast.Node, to *pai.StorageName) {
	text, ok := r.text(path, n)
	if !ok {
		return
	}
	name, err := pai.ParseStorageName(text)
	if err != nil {
		r.fault(n, path, "%v", err)
	}
	*to = name
}

func (r *reader) mountPath(path string, n ast.Node, to *string) {
	text, ok := r.text(path, n)
	if !ok {
		return
	}
	if fault := pai.CheckMountPath(text); fault != "" {
		r.fault(n, path, "%s", fault)
	}
	*to = text
}

// images puts the images of the prerequisites where the task roles name them.
func (r *reader) images(d *document) {
	for i := range d.spec.TaskRoles {
		ref, given := d.imageRef[i]
		if !given {
			continue
		}
		image, known := d.images[ref.name]
		if !known {
			r.fault(ref.at, ref.path, "no prerequisite of type dockerimage is named %q", ref.name)
		}
		d.spec.TaskRoles[i].Image = image
	}
}
