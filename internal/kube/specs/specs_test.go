package specs_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/jobspec"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// update rewrites the golden files: go test ./internal/kube/specs -update
var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden submits each testdata/*.yaml as alice and compares the objects with the .golden file beside it.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := objects(t, source)
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s differs; if that is right: go test ./internal/kube/specs -update\n%s", golden, diff)
			}
		})
	}
}

func objects(t *testing.T, source []byte) string {
	t.Helper()
	spec, err := jobspec.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	grants := pai.Grants{Storages: []pai.StorageName{"nfs-storage", "home", "readonly"}, Defaults: [][]pai.StorageName{{"nfs-storage"}, {"home"}}}
	storages := map[pai.StorageName]pai.Storage{"nfs-storage": {Share: true, Type: pai.StorageNFS}, "home": {Type: pai.StorageNFS}, "readonly": {Share: true, ReadOnly: true, Type: pai.StorageSamba}}
	s := pai.Submission{Spec: spec, Source: []byte("(the document)"), Owner: "Alice.B_c", VirtualCluster: "default"}
	if s.Mounts, err = pai.MountsFor(s.Owner, spec.Storages, grants, storages); err != nil {
		t.Fatal(err)
	}
	s.MountTypes = pai.MountTypes(s.Mounts, storages)
	record := specs.Record("default", s)
	record.UID = "uid-of-the-record"
	var out strings.Builder
	write := func(o any) {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n" + string(text))
	}
	write(record)
	for _, role := range spec.TaskRoles {
		write(specs.RoleJob(record, s, role, specs.Options{}))
	}
	return out.String()
}

var podName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

func FuzzNamesAreLegal(f *testing.F) {
	f.Add("alice", "train", "worker")
	f.Add("..a", "~~~", "_")
	f.Add("0", "0", "_0")
	f.Add(strings.Repeat("Ä", 50), strings.Repeat("x", 255), strings.Repeat("_", 63))
	f.Fuzz(func(t *testing.T, user, job, role string) {
		id := pai.JobID{User: pai.UserName(user), Name: pai.JobName(job)}
		name := specs.RoleJobName(id, role, 0)
		if pod := name + "-10000-abcde"; !podName.MatchString(name) || len(pod) > 63 {
			t.Errorf("%q", pod)
		}
		record := specs.Record("default", pai.Submission{Owner: id.User, Spec: pai.JobSpec{Name: id.Name}})
		for key, value := range record.Labels {
			if faults := validation.IsValidLabelValue(value); len(faults) > 0 {
				t.Errorf("label %s=%q: %v", key, value, faults)
			}
		}
		if other := (pai.JobID{User: id.User + "x", Name: id.Name}); specs.RecordName(other) == record.Name {
			t.Error("two jobs have one record")
		}
	})
}

// TestTasksAreOrdinary checks what no job may ever get.
func TestTasksAreOrdinary(t *testing.T) {
	role := pai.TaskRole{Name: "w", Image: "i", Instances: 1, Commands: []string{"echo $(PAI_USER_NAME) $$ $HOME"}}
	s := pai.Submission{Owner: "alice", Spec: pai.JobSpec{Name: "j", TaskRoles: []pai.TaskRole{role}}}
	pod := specs.RoleJob(&corev1.Secret{}, s, role, specs.Options{}).Spec.Template.Spec
	security := pod.Containers[0].SecurityContext
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || *pod.AutomountServiceAccountToken || security.Privileged != nil || security.Capabilities != nil ||
		*security.AllowPrivilegeEscalation || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v", pod)
	}
	if got := pod.Containers[0].Command[2]; got != "echo $$(PAI_USER_NAME) $$$$ $$HOME" {
		t.Errorf("Kubernetes would expand %q", got)
	}
}
