package jobspec_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/jobspec"
)

const good = `
protocolVersion: 2
name: train_1
type: job
contributor: alice
prerequisites:
  - protocolVersion: 2
    name: shell
    uri: busybox:1.36
    type: dockerimage
taskRoles:
  worker:
    instances: 2
    completion: {minFailedInstances: 1, minSucceededInstances: 2}
    taskRetryCount: 3
    dockerImage: shell
    extraContainerOptions: {shmMB: 64}
    resourcePerInstance: &res {gpu: 1, cpu: 4, memoryMB: 8192}
    commands:
      - echo hello
      - |
        if true; then
          echo yes
        fi
  ps:
    dockerImage: shell
    resourcePerInstance: *res
    commands: [sleep 1]
defaults: {virtualCluster: default}
extras:
  com.microsoft.pai.runtimeplugin: [{plugin: ssh}]
  storages:
    - name: nfs-storage
      mountPath: /data
    - name: other
`

// TestPlugins: storages that the original's plugin mounts are mounted, and nobody believes that other plugins run.
func TestPlugins(t *testing.T) {
	wanted := func(names ...pai.StorageName) pai.StorageRequest {
		var out pai.StorageRequest
		for _, n := range names {
			out.Wanted = append(out.Wanted, pai.WantedStorage{Name: n})
		}
		return out
	}
	head, _, _ := strings.Cut(good, "extras:")
	const teamwise = "  com.microsoft.pai.runtimeplugin: [{plugin: teamwise_storage"
	for name, c := range map[string]struct {
		extras   string
		want     pai.StorageRequest
		warnings int
		fault    string
	}{
		"names":                    {teamwise + ", parameters: {storageConfigNames: [nfs-storage, other], x: 1}}]\n", wanted("nfs-storage", "other"), 0, ""},
		"no names":                 {teamwise + ", parameters: {storageConfigNames: []}}]\n", pai.StorageRequest{Defaults: true}, 0, ""},
		"null":                     {teamwise + ", parameters: {storageConfigNames: null}}]\n", pai.StorageRequest{Defaults: true}, 0, ""},
		"no parameters":            {teamwise + "}]\n", pai.StorageRequest{Defaults: true}, 0, ""},
		"beside storages":          {teamwise + ", parameters: {storageConfigNames: [b, a]}}]\n  storages: [{name: a}]\n", wanted("a", "b"), 0, ""},
		"defaults beside storages": {teamwise + "}]\n  storages: [{name: a}]\n", wanted("a"), 1, ""},
		"storages beside defaults": {teamwise + ", parameters: {storageConfigNames: [b]}}]\n  storages: []\n", pai.StorageRequest{Defaults: true}, 1, ""},
		"others":                   {"  com.microsoft.pai.runtimeplugin: [{plugin: ssh}, {plugin: cmd, parameters: {preCommands: [x]}}]\n", pai.StorageRequest{}, 2, ""},
		"no list":                  {"  com.microsoft.pai.runtimeplugin: {plugin: ssh}\n", pai.StorageRequest{}, 0, "expected a list"},
		"a bad name":               {teamwise + ", parameters: {storageConfigNames: [../x]}}]\n", pai.StorageRequest{}, 0, "cannot be the name of a storage"},
	} {
		got, err := jobspec.Parse([]byte(head + "extras:\n" + c.extras))
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", name, err, c.fault)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got.Storages); err != nil || diff != "" || len(got.Warnings) != c.warnings {
			t.Errorf("%s: %v, warnings %q\n%s", name, err, got.Warnings, diff)
		}
	}
}

func TestParse(t *testing.T) {
	got, err := jobspec.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := pai.JobSpec{
		Name:           "train_1",
		VirtualCluster: "default",
		Warnings:       []string{`extras.com.microsoft.pai.runtimeplugin[0]: the plugin "ssh" is not run here`},
		TaskRoles: []pai.TaskRole{
			{
				Name: "worker", Image: "busybox:1.36", Instances: 2, Retries: 3, SharedMemoryMB: 64, MinFailedInstances: 1, MinSucceededInstances: 2,
				Resources: pai.Resources{CPU: 4, MemoryMB: 8192, GPU: 1},
				Commands:  []string{"echo hello", "if true; then\n  echo yes\nfi\n"},
			},
			{
				Name: "ps", Image: "busybox:1.36", Instances: 1, MinFailedInstances: 1,
				Resources: pai.Resources{CPU: 4, MemoryMB: 8192, GPU: 1},
				Commands:  []string{"sleep 1"},
			},
		},
		Storages: pai.StorageRequest{Wanted: []pai.WantedStorage{{Name: "nfs-storage", MountPath: "/data"}, {Name: "other"}}},
		Document: []byte(good),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStoragesAbsentEmptyGiven(t *testing.T) {
	base, _, _ := strings.Cut(good, "extras:")
	for _, c := range []struct {
		name, extras string
		want         pai.StorageRequest
	}{
		{"absent", "", pai.StorageRequest{}},
		{"other extras", "extras: {gangAllocation: false}\n", pai.StorageRequest{}},
		{"empty", "extras: {storages: []}\n", pai.StorageRequest{Defaults: true}},
		{"given", "extras: {storages: [{name: a}]}\n", pai.StorageRequest{Wanted: []pai.WantedStorage{{Name: "a"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := jobspec.Parse([]byte(base + c.extras))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Storages); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFaultsAllAtOnceWithPositions(t *testing.T) {
	_, err := jobspec.Parse([]byte(`protocolVersion: 3
name: a/b
type: job
colour: red
prerequisites:
  - {name: shell, type: dockerimage}
taskRoles:
  worker:
    instances: 0
    dockerImage: missing
    resourcePerInstance: {cpu: two, memoryMB: 10, gpus: 1}
    commands: []
extras:
  storages:
    - {name: Bad_Name}
    - {name: ok, mountPath: /etc/x}
    - {mountPath: rel}
`))
	if pai.CodeOf(err) != pai.InvalidParametersError {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"line 1, column 18: protocolVersion: expected 2",
		"line 2, column 7: name: ",
		"line 4, column 1: colour: unknown key",
		"prerequisites[0].uri: missing",
		"line 9, column 16: taskRoles.worker.instances: expected a whole number from 1 to 10000",
		`line 10, column 18: taskRoles.worker.dockerImage: no prerequisite of type dockerimage is named "missing"`,
		"line 11, column 32: taskRoles.worker.resourcePerInstance.cpu: expected a whole number",
		"taskRoles.worker.resourcePerInstance.gpus: unknown key",
		"taskRoles.worker.commands: expected at least one command",
		"extras.storages[0].name: ",
		"extras.storages[1].mountPath: mount path \"/etc/x\" lies under the system path /etc",
		"extras.storages[2].mountPath: mount path \"rel\" must be absolute",
		"extras.storages[2].name: missing",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%s", want, strings.ReplaceAll(err.Error(), "; ", "\n"))
		}
	}
}

func TestFaultsComeInTheOrderOfTheDocument(t *testing.T) {
	_, err := jobspec.Parse([]byte(`taskRoles:
  worker:
    dockerImage: missing
    commands: [<% $parameters.x %>]
    resourcePerInstance: {cpu: 1, memoryMB: 1, gpu: x}
defaults: {deployment: none}
type: job
protocolVersion: 2
`))
	var lines []string
	for text := range strings.SplitSeq(err.Error(), "; ") {
		line, _, _ := strings.Cut(text, ",")
		lines = append(lines, line)
	}
	if diff := cmp.Diff([]string{"line 1", "line 3", "line 4", "line 5", "line 6"}, lines); diff != "" {
		t.Errorf("%s\n%v", diff, err)
	}
}

// with replaces a part of the good document, which must be there.
func with(t *testing.T, old, new string) string {
	t.Helper()
	if !strings.Contains(good, old) {
		t.Fatalf("%q is not in the document", old)
	}
	return strings.Replace(good, old, new, 1)
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name, doc string
		want      func(*pai.JobSpec)
	}{
		{"job retries", with(t, "defaults:", "jobRetryCount: 2\ndefaults:"), func(s *pai.JobSpec) { s.Retries = 2 }},
		{"priority", with(t, "extras:", "extras:\n  hivedScheduler: {jobPriorityClass: prod, taskRoles: {}}"), func(s *pai.JobSpec) { s.Priority = "prod" }},
		{"no priority", with(t, "extras:", "extras:\n  hivedScheduler: {jobPriorityClass: }"), func(*pai.JobSpec) {}},
		{"parameters that nobody uses", with(t, "defaults:", "parameters: {a: {b: 1}}\ndefaults:"), func(*pai.JobSpec) {}},
		{"no secrets", with(t, "defaults:", "secrets: {}\ndeployments: []\ndefaults:"), func(*pai.JobSpec) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := jobspec.Parse([]byte(good))
			if err != nil {
				t.Fatal(err)
			}
			c.want(&want)
			want.Document = []byte(c.doc)
			got, err := jobspec.Parse([]byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	with := func(old, new string) string { return with(t, old, new) }
	for _, c := range []struct{ name, doc, want string }{
		{"empty", "", "empty"},
		{"not YAML", "a: [", "line 1"},
		{"list", "- a", "expected a mapping"},
		{"two documents", good + "\n---\n" + good, "expected one YAML document"},
		{"duplicate key", "name: a\nname: b\n", "line 2"},
		{"deep", strings.Repeat("[", 100000), "nested too deeply"},
		{"large", "a: " + strings.Repeat("x", jobspec.MaxSize), "larger than"},
		{"merge key", with("defaults: {virtualCluster: default}", "defaults: {<<: *res}"), "merge keys"},
		{"retry without end", with("defaults:", "jobRetryCount: -1\ndefaults:"), "line 29, column 16: jobRetryCount: this server does not retry a job without end"},
		{"too many retries", with("defaults:", "jobRetryCount: 10001\ndefaults:"), "a whole number from 0 to 10000"},
		{"too many tasks", with("instances: 2", "instances: 10000"), "expected at most 10000 tasks in all task roles together, found 10001"},
		{"ports", with("{gpu: 1,", "{ports: {http: 1}, gpu: 1,"), "does not support ports"},
		{"infiniband", with("{shmMB: 64}", "{infiniband: true}"), "does not support infiniband"},
		{"priority", with("extras:", "extras:\n  hivedScheduler: {jobPriorityClass: a b}"), "the name of a priority class"},
		{"priority of a list", with("extras:", "extras:\n  hivedScheduler: []"), "extras.hivedScheduler: expected a mapping"},
		{"anchor given twice", with("extras:", "extras:\n  a: &res 1"), "this anchor (&) is given twice"},
		{"same prerequisite", with("taskRoles:", "  - {name: shell, type: dockerimage, uri: b}\ntaskRoles:"), "another prerequisite of type dockerimage is named \"shell\""},
		{"no such script", with("    taskRetryCount: 3", "    script: shell"), "no prerequisite of type script is named \"shell\""},
		{"many commands", with("commands: [sleep 1]", "commands: ["+strings.Repeat("a,", 10000)+"a]"), "expected at most 10000 commands in all"},
		{"loop", "&a name: *a\n", ""},
		{"storages null", with("    - name: nfs-storage\n      mountPath: /data\n    - name: other\n", ""), "expected a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := jobspec.Parse([]byte(c.doc))
			if pai.CodeOf(err) != pai.InvalidParametersError {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("got %q, want it to contain %q", err, c.want)
			}
		})
	}
}

// TestMuchOfLittle: what aliases and long names make of a small document is refused, and not read to its end.
func TestMuchOfLittle(t *testing.T) {
	many := func(n int, item string) string { // with its number for %d
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(item, "%d", strconv.Itoa(i)))
		}
		return b.String()
	}
	head, _, _ := strings.Cut(good, "prerequisites:")
	const role = "{dockerImage: a, resourcePerInstance: {cpu: 1, memoryMB: 1}, commands: [a]}"
	name, other := strings.Repeat("x", 75<<10), strings.Repeat("x", 75<<10)+"y"
	long := strings.Replace(role, "dockerImage: a", "dockerImage: "+other, 1)
	image := func(name string) string { return "prerequisites: [{name: " + name + ", type: dockerimage, uri: a}]\n" }
	for _, c := range []struct{ name, doc, want string }{
		{"roles", image(name) + "taskRoles:\n  r: &r " + long + "\n" + many(8000, "  r%d: *r\n"), "taskRoles: expected 1 to 64 task roles"},
		{"long names", image(name) + "taskRoles:\n  r: &r " + long + "\n" + many(63, "  r%d: *r\n"), "no prerequisite of type dockerimage is named"},
		{"prerequisites", "taskRoles: {a: " + role + "}\nprerequisites:\n  - &p {name: a, type: data}\n" + many(256, "  - *p\n"), "prerequisites: expected at most 256 items"},
		{"keys", "taskRoles: {a: " + role + "}\nprerequisites:\n  - &p\n" + many(10000, "    nam%d: a\n") + many(200, "  - *p\n"), "the job document has more than 100000 keys and items"},
		{"uris", "taskRoles: {a: " + role + "}\nprerequisites:\n  - name: a\n    type: data\n    uri: [&u " + strings.Repeat("u", 100<<10) + strings.Repeat(", *u", 255) + "]\n",
			"prerequisites[0].uri: larger than 256 KiB in all"},
		{"storages", image("a") + "taskRoles: {a: " + role + "}\nextras:\n  storages:\n    - &s {name: a}\n" + many(256, "    - *s\n"), "extras.storages: expected at most 256 items"},
		{"mount path", image("a") + "taskRoles: {a: " + role + "}\nextras: {storages: [{name: a, mountPath: " + strings.Repeat("/a", 100<<10) + "}]}\n", "must not be longer than 1024"},
		{"deployments", image("a") + "taskRoles: {a: " + role + "}\ndeployments:\n  - name: d\n    taskRoles: &d\n" + many(5000, "      nobody%d: {}\n") +
			many(63, "  - {name: d%d, taskRoles: *d}\n"), "deployments[0].taskRoles: expected at most 64 task roles"},
		{"templates", image("a") + "taskRoles:\n  a:\n    dockerImage: a\n    resourcePerInstance: {cpu: 1, memoryMB: 1}\n    commands:\n      - &c '" +
			strings.Repeat("<%%>", 40000) + "'\n" + many(9000, "      - *c\n"), "the commands of this document are larger than 1024 KiB"},
	} {
		_, err := jobspec.Parse([]byte(head + c.doc))
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 20000 {
			t.Errorf("%s: got %.300v, want %q in it", c.name, err, c.want)
		}
	}
}

// TestKeysOfClients: a key in extras that is not quite one of ours is a client's own, with a warning; one letter more or less is a mistake.
func TestKeysOfClients(t *testing.T) {
	spec, err := jobspec.Parse([]byte(good + "  stages: [a]\n  tensorBoard: {}\n"))
	if err != nil || !slices.Contains(spec.Warnings, "extras.stages: nothing is known here of that name; did you mean storages?") || len(spec.Warnings) != 2 {
		t.Errorf("%q, %v", spec.Warnings, err)
	}
	for _, key := range []string{"Storages", "storags", "hivedscheduler"} {
		if _, err := jobspec.Parse([]byte(good + "  " + key + ": a\n")); err == nil || !strings.Contains(err.Error(), "extras."+key+": unknown key: did you mean") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add(templated)
	f.Add(body + "secrets: {a: &x b, c: *x}\ndeployments: [{name: a, taskRoles: {main: {preCommands: [b]}}}]\n")
	f.Add("a: &x [*x]")
	f.Add("? {a: b}\n: c")
	f.Add("- - - a\n--- b")
	f.Add("name: !!binary xyz\ntype: |\n  job\n")
	f.Fuzz(func(t *testing.T, doc string) {
		spec, err := jobspec.Parse([]byte(doc))
		if err != nil {
			if pai.CodeOf(err) != pai.InvalidParametersError {
				t.Errorf("got %v", err)
			}
			return
		}
		if _, err := pai.ParseJobName(string(spec.Name)); err != nil || len(spec.TaskRoles) == 0 {
			t.Errorf("accepted %+v", spec)
		}
	})
}
