package jobspec_test

import (
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

func TestParse(t *testing.T) {
	got, err := jobspec.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := pai.JobSpec{
		Name:           "train_1",
		VirtualCluster: "default",
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

func TestRefused(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, c := range []struct{ name, doc, want string }{
		{"empty", "", "empty"},
		{"not YAML", "a: [", "line 1"},
		{"list", "- a", "expected a mapping"},
		{"two documents", good + "\n---\n" + good, "expected one YAML document"},
		{"duplicate key", "name: a\nname: b\n", "line 2"},
		{"deep", strings.Repeat("[", 100000), "nested too deeply"},
		{"large", "a: " + strings.Repeat("x", jobspec.MaxSize), "larger than"},
		{"secrets", with("defaults:", "secrets: {a: b}\ndefaults:"), "does not support secrets"},
		{"template", with("echo hello", "echo <% $parameters.x %>"), "does not support templates"},
		{"merge key", with("defaults: {virtualCluster: default}", "defaults: {<<: *res}"), "merge keys"},
		{"job retry", with("defaults:", "jobRetryCount: 2\ndefaults:"), "does not retry whole jobs"},
		{"loop", "&a name: *a\n", ""},
		{"storages null", with("    - name: nfs-storage\n      mountPath: /data\n    - name: other\n", ""), "expected a list"},
		{"private registry", with("    type: dockerimage", "    auth: {username: u, password: CANARY}\n    type: dockerimage"), "private registries"},
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

func FuzzParse(f *testing.F) {
	f.Add(good)
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
