package pai_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pai-storage/pai-storage"

// allowed says which packages of the module a package may import, and why. "" is the root, the domain. An
// arrow that is not here is a fault, and so is one that is here and that the code does not need.
var allowed = map[string]map[string]string{
	"":       {},
	"deploy": {},

	"cmd/paictl":      {"internal/cli": "the program"},
	"cmd/rest-server": {"internal/daemon": "the program"},
	"cmd/pai-mount":   {"internal/mounter": "the program"},
	"cmd/task-init":   {"internal/taskinit": "the program"},

	"cmd/storage-manager": {"internal/storagemanager": "the program"},
	"cmd/node-agent":      {"internal/agent": "the program"},

	"internal/cli": {
		"internal/plural":        "numbers of things in messages",
		"":                       "the nouns that people type",
		"internal/client":        "everything that the API can do is done through it",
		"internal/jobspec":       "the name in a job document",
		"internal/localcluster":  "up, down, status",
		"internal/clusterconfig": "files that are checked without a cluster",
		"internal/rollout":       "what is done with a kubeconfig: configuration and services",
		"internal/term":          "tables and progress",
		"internal/yamltext":      "files of people, from every editor",
	},
	"internal/daemon": {
		"":                    "the services' contracts",
		"internal/auth":       "wiring: who may what",
		"internal/fileserver": "wiring: what file servers say when they are asked",
		"internal/kube":       "wiring: where state lives",
		"internal/peer":       "wiring: whose word counts for where a request came from",
		"internal/portal":     "wiring: the pages",
		"internal/rest":       "wiring: the API",
		"internal/yamltext":   "files of people, from every editor",
	},
	"internal/rest": {
		"internal/plural":  "numbers of things in messages",
		"":                 "the services' contracts",
		"internal/jobspec": "job documents come as YAML",
		"internal/peer":    "where a request came from",
		"internal/session": "the browser's cookies, on the way through an identity provider",
	},
	"internal/portal": {
		"":                 "the services' contracts",
		"internal/peer":    "where a request came from",
		"internal/session": "the browser's cookies",
	},
	"internal/peer":       {},
	"internal/session":    {},
	"internal/openidtest": {},
	"internal/client":     {"": "the nouns"},
	"internal/jobspec": {
		"":                  "the job that a document describes",
		"internal/yamltext": "where in the source things stand",
	},
	"internal/auth": {
		"internal/plural":     "numbers of things in messages",
		"":                    "the services that the guard stands before",
		"internal/kube":       "users' password hashes and tokens",
		"internal/fileserver": "the hash that SMB takes for a password",
	},
	"internal/auditlog": {"": "the entries"},
	"internal/kube": {
		"internal/plural":       "numbers of things in messages",
		"internal/auditlog":     "how the audit trail is kept",
		"internal/mount":        "what workers are to mount for a check",
		"internal/storagecheck": "what workers are told, and what they tell",
		"internal/volume":       "how workers mount a volume",
		"":                      "the nouns",
		"internal/doctor":       "why jobs wait, from the facts that are collected here",
		"internal/kube/specs":   "what a noun looks like as an object",
	},
	"internal/kube/specs": {"": "the nouns"},
	"internal/kube/fileaccess": {
		"":                    "the nouns",
		"internal/kube/specs": "what an account looks like as a Secret",
	},
	"internal/doctor": {
		"internal/plural":   "numbers of things in messages",
		"":                  "the nouns",
		"internal/taskinit": "what its program says when it fails",
	},
	"internal/taskinit": {},

	"internal/localcluster": {
		"internal/plural":       "numbers of things in messages",
		"deploy":                "the manifests that a cluster starts with",
		"internal/buildcache":   "where built things lie",
		"internal/controlplane": "the control plane's processes",
		"internal/rollout":      "a new cluster's configuration",
		"internal/kubeapply":    "manifests into the cluster",
		"internal/kubebuild":    "Kubernetes' binaries",
		"internal/nodeimage":    "the workers' image",
		"internal/pki":          "certificates of workers and services",
		"internal/proc":         "supervised processes",
		"internal/qemu":         "what runs the workers",
	},
	"internal/qemu": {
		"internal/buildcache": "downloaded once",
		"internal/proc":       "runs Debian's tools",
	},
	"internal/controlplane": {
		"internal/pki":  "certificates of the components",
		"internal/proc": "the components are processes",
	},
	"internal/kubebuild": {
		"internal/buildcache": "built once",
		"internal/proc":       "runs the compiler",
	},
	"internal/nodeimage": {
		"internal/buildcache": "built once",
		"internal/proc":       "runs Debian's tools",
	},
	"internal/clusterconfig": {
		"internal/fileserver": "the file servers' rules for what is given to them",
		"internal/yamltext":   "where in the source things stand",
	},
	"internal/rollout": {
		"internal/plural":        "numbers of things in messages",
		"":                       "which types of storages a worker lacks something for, and what an entry of the audit trail is",
		"deploy":                 "the services' manifests",
		"internal/auditlog":      "what was done is in the trail",
		"internal/clusterconfig": "what is carried, checked",
		"internal/kubeapply":     "manifests into the cluster",
		"internal/storagecheck":  "what node agents complain about",
	},
	"internal/storagemanager": {
		"internal/plural":          "numbers of things in messages",
		"internal/clusterconfig":   "its section",
		"internal/fileserver":      "the servers' configurations and probes",
		"internal/proc":            "the servers are processes",
		"internal/kube/fileaccess": "who may mount and log in",
	},
	"internal/mount": {"internal/plural": "numbers of things in messages"},
	"internal/csi": {
		"internal/mount":  "what mounts",
		"internal/volume": "what a PersistentVolume says of a volume",
	},
	"internal/mounter": {
		"internal/plural":     "numbers of things in messages",
		"internal/flexvolume": "the kubelet's calls",
		"internal/mount":      "the engine",
	},
	"internal/flexvolume": {
		"internal/plural": "numbers of things in messages",
		"internal/mount":  "what mounts",
		"internal/volume": "what the kubelet says of a volume",
	},
	"internal/volume":       {"internal/mount": "what the words of a volume come to"},
	"internal/storagecheck": {"internal/mount": "what is to be mounted for a check"},
	"internal/agent": {
		"internal/plural":       "numbers of things in messages",
		"":                      "the types of storages",
		"internal/csi":          "drivers that the kubelet calls",
		"internal/flexvolume":   "drivers that are installed",
		"internal/mount":        "what mounts",
		"internal/storagecheck": "what is ordered and reported",
		"internal/volume":       "the drivers' names",
	},

	"internal/buildcache": {},
	"internal/fileserver": {},
	"internal/kubeapply":  {},
	"internal/pki":        {},
	"internal/plural":     {},
	"internal/proc":       {},
	"internal/term":       {},
	"internal/yamltext":   {},

	// For tests only.
	"hack/check": {},
	"internal/adtest": {
		"internal/await":    "servers are waited for",
		"internal/kubetest": "tests that cannot run say so",
	},
	"internal/await":    {},
	"internal/docrun":   {"internal/await": "commands are waited for"},
	"internal/freeport": {},
	"internal/kubefake": {},
	"internal/kubetest": {
		"internal/await":        "starts are waited for",
		"internal/buildcache":   "where the binaries lie",
		"internal/controlplane": "etcd and the API server",
		"internal/freeport":     "where etcd and the API server listen",
		"internal/kubebuild":    "the binaries",
		"internal/proc":         "supervised processes",
	},
	"internal/servertest": {
		"":                  "the nouns",
		"internal/auth":     "the real server, wired for a test",
		"internal/kube":     "the real server, wired for a test",
		"internal/kubefake": "in place of a cluster",
		"internal/portal":   "the real server, wired for a test",
		"internal/rest":     "the real server, wired for a test",
	},
	"test/bench":  {},
	"test/system": {},
}

// confined says which packages alone may import something from outside.
var confined = map[string]struct {
	to  []string
	why string
}{
	"k8s.io/": {[]string{"internal/csi", "internal/kube", "internal/kube/specs", "internal/kube/fileaccess", "internal/kubeapply", "internal/kubefake", "internal/kubetest", "internal/auditlog",
		"internal/controlplane", "internal/localcluster", "internal/daemon", "internal/servertest", "internal/rollout", "internal/storagemanager", "internal/agent"}, "the nouns reach Kubernetes through internal/kube"},
	"github.com/spf13/cobra":            {[]string{"internal/cli"}, "flags are the command line's"},
	"github.com/danielgtaylor/huma/":    {[]string{"internal/rest"}, "HTTP is one front end among others"},
	"github.com/prometheus/":            {[]string{"internal/rest", "internal/daemon", "internal/storagemanager", "internal/agent"}, "numbers are for the API's /metrics"},
	"github.com/coreos/go-oidc/":        {[]string{"internal/auth"}, "one place knows identity providers"},
	"github.com/zitadel/oidc/":          {[]string{"internal/openidtest"}, "a provider is for tests"},
	"github.com/golang-jwt/":            {[]string{"internal/auth"}, "one place makes and reads tokens"},
	"github.com/thejerf/suture/":        {[]string{"internal/proc"}, "one place supervises"},
	"github.com/vishvananda/netlink":    {[]string{"internal/localcluster"}, "only a local cluster makes a network"},
	"google.golang.org/grpc":            {[]string{"internal/csi"}, "the kubelet speaks it with CSI drivers alone"},
	"github.com/cloudsoda/go-smb2":      {[]string{"internal/fileserver"}, "one place asks file servers"},
	"github.com/chromedp/":              {nil, "browsers are for tests"},
	"github.com/google/go-containerreg": {[]string{"internal/nodeimage"}, "only the image has container images"},
}

// testOnly are packages that no program may import.
var testOnly = []string{"internal/adtest", "internal/await", "internal/docrun", "internal/freeport", "internal/kubefake", "internal/kubetest", "internal/openidtest", "internal/servertest"}

type goPackage struct {
	ImportPath string
	Doc        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// place is a package's path in the module.
func place(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, module)
	return strings.TrimPrefix(rest, "/"), ok
}

func TestArchitecture(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		name, _ := place(p.ImportPath)
		seen[name] = true
		may, known := allowed[name]
		if !known {
			t.Errorf("%s is new: say in arch_test.go what it may import", name)
			continue
		}
		used := map[string]bool{}
		for _, path := range p.Imports {
			target, ours := place(path)
			if !ours {
				checkOutside(t, name, path)
				continue
			}
			used[target] = true
			if may[target] == "" {
				t.Errorf("%s imports %q, which arch_test.go does not allow", name, target)
			}
			if slices.Contains(testOnly, target) && !slices.Contains(testOnly, name) {
				t.Errorf("%s imports %s, which is for tests", name, target)
			}
		}
		for target := range may {
			if !used[target] {
				t.Errorf("%s does not import %q any more: take the arrow out of arch_test.go", name, target)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("%s is in arch_test.go and not in the code", name)
		}
	}
}

func checkOutside(t *testing.T, name, path string) {
	t.Helper()
	if name == "" && strings.Contains(strings.Split(path, "/")[0], ".") {
		t.Errorf("the domain imports %s; it has the standard library alone", path)
	}
	for prefix, rule := range confined {
		if strings.HasPrefix(path, prefix) && !slices.Contains(rule.to, name) {
			t.Errorf("%s imports %s: %s", name, path, rule.why)
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 40 {
			t.Errorf("%s has no package comment that says what it is", p.ImportPath)
		}
	}
}
