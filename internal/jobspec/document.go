package jobspec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	pai "github.com/pai-storage/pai-storage"
)

// Bounds of the numbers in a document.
const (
	maxRoles     = 64
	maxListed    = 256    // prerequisites, plugins, and storages of one list
	maxSteps     = 100000 // keys and items that are read in all, aliases followed
	maxWarnings  = 16     // about keys that may be meant as others
	maxInstances = 10000  // of one role, and of all together
	maxRetries   = 10000
	maxCPU       = 4096
	maxMemoryMB  = 64 << 20
	maxGPU       = 1024
)

// document is what is read before the parts are put together.
type document struct {
	spec          pai.JobSpec
	parameters    map[string]string
	secrets       map[string]string
	prerequisites map[prerequisiteKey]*prerequisite
	auths         []*auth // in the order of the document
	roles         []role  // what the task roles say that other parts must complete
	unread        bool    // there are too many task roles, and none was read
	deployments   []deployment
	deployment    reference
	plugin        *pai.StorageRequest // of the plugin that mounts storages; nil without it
}

// role is what a task role says that other parts of the document must complete.
type role struct {
	uses     map[string]reference // type of prerequisite -> its name
	commands []command
}

// reference is a name that another part of the document must define.
type reference struct {
	path, name string
	at         ast.Node // nil when there is no reference
}

func (r *reader) job(root ast.Node) pai.JobSpec {
	d := &document{prerequisites: map[prerequisiteKey]*prerequisite{}}
	r.object("", root, map[string]field{
		"protocolVersion": func(p string, n ast.Node) { r.exactly(p, n, "2") },
		"type":            func(p string, n ast.Node) { r.exactly(p, n, "job") },
		"name":            func(p string, n ast.Node) { r.jobName(p, n, &d.spec.Name) },
		"version":         ignore,
		"contributor":     ignore,
		"description":     ignore,
		"parameters":      func(p string, n ast.Node) { d.parameters = r.parameters(p, n) },
		"secrets":         func(p string, n ast.Node) { d.secrets = r.readSecrets(p, n) },
		"jobRetryCount":   func(p string, n ast.Node) { d.spec.Retries = r.jobRetries(p, n) },
		"prerequisites": func(p string, n ast.Node) {
			r.shortList(p, n, maxListed, func(p string, n ast.Node) { r.prerequisite(p, n, d) })
		},
		"taskRoles":   func(p string, n ast.Node) { r.taskRoles(p, n, d) },
		"deployments": func(p string, n ast.Node) { r.deployments(p, n, d) },
		"defaults":    func(p string, n ast.Node) { r.defaults(p, n, d) },
		"extras":      func(p string, n ast.Node) { r.extras(p, n, d) },
	}, "protocolVersion", "type", "name", "taskRoles")
	d.addPluginStorages()
	r.images(d)
	r.registries(d)
	r.allCommands(d)
	d.spec.Warnings = append(d.spec.Warnings, r.warnings...)
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

// jobRetries reads jobRetryCount, where the protocol has negative numbers for retrying without end.
func (r *reader) jobRetries(path string, n ast.Node) int {
	if v, ok := r.resolve(n).(*ast.IntegerNode); ok && strings.HasPrefix(v.Token.Value, "-") {
		r.fault(n, path, "this server does not retry a job without end: expected a whole number from 0 to %d", maxRetries)
		return 0
	}
	return r.integer(path, n, 0, maxRetries)
}

// roleName is the protocol's own rule; role names become parts of environment variables.
var roleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func (r *reader) taskRoles(path string, n ast.Node, d *document) {
	if d.unread = len(r.pairs(n)) > maxRoles; d.unread {
		r.fault(n, path, "expected 1 to %d task roles", maxRoles)
		return
	}
	r.each(path, n, func(name string, at, value ast.Node) {
		p := join(path, name)
		if !roleName.MatchString(name) {
			r.fault(at, p, "a task role is named with letters, digits and '_', at most 63")
		}
		if isNull(r.resolve(value)) {
			value = at
		}
		d.spec.TaskRoles = append(d.spec.TaskRoles, r.taskRole(p, name, value, d))
	})
	if len(d.spec.TaskRoles) == 0 {
		r.fault(n, path, "expected 1 to %d task roles", maxRoles)
	}
	tasks := 0
	for _, role := range d.spec.TaskRoles {
		tasks += role.Instances
	}
	if tasks > maxInstances {
		r.fault(n, path, "expected at most %d tasks in all task roles together, found %d", maxInstances, tasks)
	}
}

func (r *reader) taskRole(path, name string, n ast.Node, d *document) pai.TaskRole {
	spec := pai.TaskRole{Name: name, Instances: 1, MinFailedInstances: 1}
	rest := role{uses: map[string]reference{}}
	defer func() { d.roles = append(d.roles, rest) }()
	var succeeded ast.Node
	use := func(kind string) field {
		return func(p string, n ast.Node) {
			if text, ok := r.text(p, n); ok {
				rest.uses[kind] = reference{path: p, name: text, at: n}
			}
		}
	}
	r.object(path, n, map[string]field{
		"instances":             r.setInteger(&spec.Instances, 1, maxInstances),
		"taskRetryCount":        r.setInteger(&spec.Retries, 0, maxRetries),
		"dockerImage":           use(imageKind),
		"data":                  use("data"),
		"output":                use("output"),
		"script":                use("script"),
		"completion":            func(p string, n ast.Node) { succeeded = r.completion(p, n, &spec) },
		"extraContainerOptions": func(p string, n ast.Node) { r.containerOptions(p, n, &spec) },
		"resourcePerInstance":   func(p string, n ast.Node) { r.resources(p, n, &spec.Resources) },
		"commands": func(p string, n ast.Node) {
			if rest.commands = r.commandList(p, n); len(rest.commands) == 0 {
				r.fault(n, p, "expected at least one command")
			}
		},
	}, "dockerImage", "resourcePerInstance", "commands")
	if spec.MinSucceededInstances > spec.Instances {
		r.fault(succeeded, path+".completion.minSucceededInstances", "more than the role has instances")
	}
	return spec
}

// completion returns where minSucceededInstances stands.
func (r *reader) completion(path string, n ast.Node, role *pai.TaskRole) (succeeded ast.Node) {
	r.object(path, n, map[string]field{
		"minFailedInstances":    func(p string, n ast.Node) { role.MinFailedInstances = r.threshold(p, n) },
		"minSucceededInstances": func(p string, n ast.Node) { succeeded, role.MinSucceededInstances = n, r.threshold(p, n) },
	})
	return succeeded
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

func (r *reader) defaults(path string, n ast.Node, d *document) {
	r.object(path, n, map[string]field{
		"virtualCluster": func(p string, n ast.Node) {
			d.spec.VirtualCluster, _ = r.text(p, n)
			r.named = append(r.named, reference{p, d.spec.VirtualCluster, n})
		},
		"deployment": func(p string, n ast.Node) {
			if text, ok := r.text(p, n); ok {
				d.deployment = reference{path: p, name: text, at: n}
			}
		},
	})
}

// extras reads what concerns us of `extras`; everything else there belongs to clients.
func (r *reader) extras(path string, n ast.Node, d *document) {
	r.some(path, n, map[string]field{
		"storages":   func(p string, n ast.Node) { r.storages(p, n, &d.spec.Storages) },
		pluginsField: func(p string, n ast.Node) { r.plugins(p, n, d) },
		"hivedScheduler": func(p string, n ast.Node) {
			r.some(p, n, map[string]field{
				"jobPriorityClass": func(p string, n ast.Node) { r.priority(p, n, &d.spec.Priority) },
			})
		},
	})
}

// priorityClass is what names a class of priorities.
var priorityClass = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

func (r *reader) priority(path string, n ast.Node, to *string) {
	if isNull(r.resolve(n)) {
		return
	}
	text, ok := r.text(path, n)
	if ok && !priorityClass.MatchString(text) {
		r.fault(n, path, "expected the name of a priority class: letters, digits, '-', '_' and '.', at most 63")
	}
	*to = text
}

func (r *reader) storages(path string, n ast.Node, to *pai.StorageRequest) {
	if isNull(r.resolve(n)) {
		r.fault(n, path, "expected a list; [] means your default storages, and leaving the key out means none")
		return
	}
	if name, ok := r.scalar(n); ok {
		r.fault(n, path, "expected a list: - name: %.60s", name)
		return
	}
	r.shortList(path, n, maxListed, func(p string, n ast.Node) {
		w, at := pai.WantedStorage{}, n
		if name, ok := r.scalar(n); ok {
			r.fault(n, p, "expected a mapping: - name: %.60s", name)
			return
		}
		r.object(p, n, map[string]field{
			"name":      func(p string, n ast.Node) { r.storageName(p, n, &w.Name) },
			"mountPath": func(p string, n ast.Node) { at = n; r.mountPath(p, n, &w.MountPath) },
		}, "name")
		r.mounts.add(r, path, p, at, w)
		to.Wanted = append(to.Wanted, w)
	})
	to.Defaults = len(to.Wanted) == 0
}

// pluginsField is where the original's clients list what runs beside a job's commands.
const pluginsField = "com.microsoft.pai.runtimeplugin"

// storagePlugin is the one that mounts storages.
const storagePlugin = "teamwise_storage"

// plugins reads the storages that the original's plugin would mount, and names the plugins that nobody runs here.
func (r *reader) plugins(path string, n ast.Node, d *document) {
	r.shortList(path, n, maxListed, func(p string, n ast.Node) {
		var name string
		wanted := &pai.StorageRequest{Defaults: true}
		r.some(p, n, map[string]field{
			"plugin": func(p string, n ast.Node) { name, _ = r.text(p, n) },
		})
		if name != storagePlugin {
			d.spec.Warnings = append(d.spec.Warnings, fmt.Sprintf("%s: the plugin %q is not run here", p, name))
			return
		}
		r.some(p, n, map[string]field{"parameters": func(p string, n ast.Node) {
			if isNull(r.resolve(n)) {
				return
			}
			r.some(p, n, map[string]field{"storageConfigNames": func(p string, n ast.Node) {
				if isNull(r.resolve(n)) {
					return
				}
				r.shortList(p, n, maxListed, func(p string, n ast.Node) {
					var w pai.WantedStorage
					r.storageName(p, n, &w.Name)
					r.mounts.add(r, path, p, n, w)
					wanted.Wanted = append(wanted.Wanted, w)
				})
			}})
		}})
		wanted.Defaults = len(wanted.Wanted) == 0
		d.plugin = wanted
	})
}

// addPluginStorages puts what the plugin mounts to what the document mounts by itself, each storage once.
func (d *document) addPluginStorages() {
	to := &d.spec.Storages
	switch {
	case d.plugin == nil:
	case len(to.Wanted) == 0 && !to.Defaults:
		*to = *d.plugin
	case d.plugin.Defaults != to.Defaults:
		d.spec.Warnings = append(d.spec.Warnings, fmt.Sprintf("extras.%s: extras.storages counts, and not the plugin %s", pluginsField, storagePlugin))
	default:
		for _, w := range d.plugin.Wanted {
			if !slices.ContainsFunc(to.Wanted, func(o pai.WantedStorage) bool { return o.Name == w.Name }) {
				to.Wanted = append(to.Wanted, w)
			}
		}
	}
}

func (r *reader) storageName(path string, n ast.Node, to *pai.StorageName) {
	text, ok := r.text(path, n)
	if !ok {
		return
	}
	r.named = append(r.named, reference{path, text, n})
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
