package kube

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

func resources(cpu, memory, gpu string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory), specs.GPUResource: resource.MustParse(gpu),
	}
}

func worker(name string, ready corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{lastApplied: "CANARY"}},
		Status: corev1.NodeStatus{
			Allocatable: resources("8", "32Gi", "4"), Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}},
		},
	}
}

// podOfJob is a pod of a job.
func podOfJob(id pai.JobID, name string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{specs.JobLabel: specs.Key(id)},
			Annotations: map[string]string{specs.RoleAnnotation: "worker", indexAnnotation: "0"}},
		Spec: corev1.PodSpec{NodeName: "one", Containers: []corev1.Container{{
			Name: "c", Resources: corev1.ResourceRequirements{Requests: resources("1500m", "1Gi", "1")},
			Env: []corev1.EnvVar{{Name: "DB_PASSWORD", Value: "CANARY"}, {Name: "EPOCHS", Value: "3"}},
		}}},
		Status: corev1.PodStatus{Phase: phase},
	}
}

func TestVirtualClusters(t *testing.T) {
	id := pai.JobID{User: "alice", Name: "one"}
	record := specs.Record("default", pai.Submission{Owner: id.User, Spec: pai.JobSpec{Name: id.Name, TaskRoles: []pai.TaskRole{{Name: "worker", Instances: 2}}}, VirtualCluster: "research"})
	objects := []runtime.Object{
		worker("one", corev1.ConditionTrue), worker("two", corev1.ConditionUnknown), record,
		podOfJob(id, "running", corev1.PodRunning), podOfJob(id, "done", corev1.PodSucceeded),
		original(GroupNamespace, objectName("g"), map[string]string{"groupname": "g", "extension": `{"acls":{"virtualClusters":["granted"]}}`}),
	}
	c, err := New(kubefake.New(objects...), Options{JobsNamespace: "default", VirtualClusters: map[string]pai.Quantity{"small": {CPU: 4, MemoryMB: 1024, GPU: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	got, err := c.VirtualClusters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ready, all := pai.Quantity{CPU: 8, MemoryMB: 32 << 10, GPU: 4}, pai.Quantity{CPU: 16, MemoryMB: 64 << 10, GPU: 8}
	small := pai.Quantity{CPU: 4, MemoryMB: 1024, GPU: 2}
	want := []pai.VirtualCluster{
		{Name: "default", Guaranteed: ready, Total: all, Capacity: 100},
		{Name: "granted", Guaranteed: ready, Total: all, Capacity: 100},
		{Name: "research", Used: pai.Quantity{CPU: 2, MemoryMB: 1024, GPU: 1}, Guaranteed: ready, Total: all, Capacity: 100, UsedCapacity: 12.5},
		{Name: "small", Guaranteed: small, Total: small, Capacity: 25},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := c.VirtualCluster(t.Context(), "nowhere"); pai.CodeOf(err) != pai.NoVirtualClusterError {
		t.Errorf("got %v", err)
	}
}

func TestRawListsWithoutSecrets(t *testing.T) {
	foreign := podOfJob(pai.JobID{User: "x", Name: "y"}, "elsewhere", corev1.PodRunning)
	foreign.Namespace, foreign.Labels = "kube-system", nil
	foreign.Annotations = map[string]string{lastApplied: "CANARY"}
	c := started(t, worker("one", corev1.ConditionTrue), foreign, podOfJob(pai.JobID{User: "alice", Name: "one"}, "mine", corev1.PodRunning))
	for name, want := range map[string]int{"": 2, "default": 1, "kube-system": 1, "nowhere": 0} {
		text, err := c.Pods(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var list corev1.PodList
		if err := json.Unmarshal(text, &list); err != nil || len(list.Items) != want || list.Kind != "PodList" {
			t.Errorf("namespace %q: got %d pods, %v", name, len(list.Items), err)
		}
		if strings.Contains(string(text), "CANARY") || (want > 0 && !strings.Contains(string(text), `"EPOCHS"`)) {
			t.Errorf("namespace %q: got %s", name, text)
		}
	}
	text, err := c.Nodes(t.Context())
	if err != nil || strings.Contains(string(text), "CANARY") || !strings.Contains(string(text), `"kind":"NodeList"`) {
		t.Errorf("got %s, %v", text, err)
	}
}
