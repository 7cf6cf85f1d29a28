package kube

import (
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// TestHolds: a job that waits for a worker says who holds it, as long as he does and cannot go on.
func TestHolds(t *testing.T) {
	// A worker of 8 cores, of which a DaemonSet has a part and what has ended nothing.
	other := func(namespace string, phase corev1.PodPhase, cpu string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "agent"}, Status: corev1.PodStatus{Phase: phase},
			Spec: corev1.PodSpec{NodeName: "one", Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: resources(cpu, "64Mi", "0")}}}}}
	}
	client := kubefake.New(worker("one", corev1.ConditionTrue), other("pai-system", corev1.PodRunning, "20m"), other("default", corev1.PodSucceeded, "7"))
	c, err := New(client, Options{JobsNamespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	submit := func(user pai.UserName, name pai.JobName, cores int, change func(*corev1.Pod)) (pai.JobID, *corev1.Pod) {
		t.Helper()
		s := submission(user, name, "w")
		s.Spec.TaskRoles[0].Resources = pai.Resources{CPU: cores, MemoryMB: 64}
		id, err := c.Submit(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		pod := taskOf(t, c, id, "w", corev1.PodPending)
		pod.Spec.Containers = []corev1.Container{{Name: "task", Resources: corev1.ResourceRequirements{Requests: resources(strconv.Itoa(cores), "64Mi", "0")}}}
		change(pod)
		if _, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		return id, pod
	}
	_, stuck := submit("bob", "stuck", 7, func(p *corev1.Pod) {
		p.Spec.NodeName = "one"
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "task",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "InvalidImageName", Message: "no"}}}}
	})
	unplaced := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable",
			Message: "0/1 nodes are available: 1 Insufficient cpu."}}
	}
	waits, _ := submit("alice", "waits", 1, unplaced)
	large, _ := submit("alice", "large", 8, unplaced)
	code := func(id pai.JobID) string {
		if _, err := c.Jobs(t.Context(), pai.JobQuery{}); err != nil { // whoever asks for the list has the board look
			t.Fatal(err)
		}
		j, err := c.Job(t.Context(), id)
		if err != nil || j.Finding == nil {
			return ""
		}
		return j.Finding.Code
	}
	await.Until(t, "the job says that it is held up", func() bool { return code(waits) == "JOB-210" })
	await.Until(t, "the one that asks for all of the worker says that it is too large", func() bool { return code(large) == "JOB-202" })
	d, err := c.Diagnose(t.Context(), waits)
	if err != nil || len(d.Findings) != 1 || len(d.Findings[0].HeldBy) != 1 || d.Findings[0].HeldBy[0].String() != "bob~stuck" {
		t.Errorf("got %+v, %v", d, err)
	}
	var listed *pai.Finding
	await.Until(t, "the list says it, too", func() bool {
		page, err := c.Jobs(t.Context(), pai.JobQuery{User: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Jobs {
			if s.ID == waits {
				listed = s.Finding
			}
		}
		return listed != nil && listed.Code == "JOB-210"
	})
	if listed.HeldBy != nil {
		t.Error("the list, which is for many people, names who holds it")
	}

	stuck.Status.Phase = corev1.PodRunning
	stuck.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	if _, err := client.CoreV1().Pods("default").Update(t.Context(), stuck, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "it passes with time when who holds it runs", func() bool { return code(waits) == "JOB-201" })
}

// TestStuck: what runs is no holder although another part of its job cannot go on; nor is a job that itself lacks workers.
func TestStuck(t *testing.T) {
	a := attempt{pods: []taskPod{
		{node: "one", state: pai.JobRunning, requests: pai.Quantity{CPU: 1}},
		{node: "one", state: pai.JobWaiting, requests: pai.Quantity{CPU: 2}},
		{node: "one", state: pai.JobRunning, deleting: time.Now(), requests: pai.Quantity{CPU: 4}},
		{node: "one", state: pai.JobFailed, requests: pai.Quantity{CPU: 8}},
		{state: pai.JobWaiting, requests: pai.Quantity{CPU: 16}},
	}}
	if got := a.holds(); len(got) != 1 || got["one"].CPU != 6 {
		t.Errorf("held: %v", got)
	}
	finding := func(code string, who pai.Fixer) pai.Finding { return pai.Finding{Code: code, Who: who} }
	for want, findings := range map[string][]pai.Finding{
		"":        {finding("JOB-203", pai.FixedByAdministrator), finding("JOB-210", pai.FixedByUser), finding("JOB-101", pai.FixedByWaiting)},
		"STO-305": {finding("JOB-203", pai.FixedByAdministrator), finding("STO-305", pai.FixedByAdministrator)},
	} {
		if got := stuck(findings); got != want {
			t.Errorf("%v: %q, want %q", findings, got, want)
		}
	}
}
