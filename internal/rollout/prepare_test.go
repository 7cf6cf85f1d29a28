package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// lackingWorker is worker1, an Ubuntu machine, with an agent that found what it lacks.
func lackingWorker(t *testing.T, lacks ...string) []runtime.Object {
	t.Helper()
	return []runtime.Object{
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1"}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OSImage: "Ubuntu 24.04", KernelVersion: "6.8.0-40-generic"}}},
		reportOf(t, lacks...),
		&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: NodeAgent}, Spec: appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "registry.example.org/agent:7", ImagePullPolicy: corev1.PullIfNotPresent}}}}}},
	}
}

func reportOf(t *testing.T, lacks ...string) *corev1.ConfigMap {
	t.Helper()
	text, err := json.Marshal(storagecheck.Report{Node: "worker1", Time: time.Unix(1e9, 0), Facts: factsOf(lacks...), Faults: []string{"no space left"}})
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.ReportNamespace, Name: "worker1"}, Data: map[string]string{storagecheck.ReportKey: string(text)}}
}

// kubelet answers pods that are created as a kubelet does once they are done: in a phase, and with an exit code. before is what happens on
// the machine meanwhile.
func kubelet(client *fake.Clientset, phase corev1.PodPhase, exit int32, before func()) *[]corev1.Pod {
	made := &[]corev1.Pod{}
	client.PrependReactor("create", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
		pod := a.(kubetesting.CreateAction).GetObject().(*corev1.Pod)
		pod.Status.Phase = phase
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: exit}}}}
		*made = append(*made, *pod.DeepCopy())
		before()
		return false, nil, nil
	})
	return made
}

// TestPreparation: what cannot be told first, then what a worker lacks.
func TestPreparation(t *testing.T) {
	s := &Services{client: kubefake.New(lackingWorker(t, "mount.nfs")[0]), Note: func(string, string) {}}
	if _, err := s.Preparation(t.Context(), "worker9"); !errors.Is(err, ErrNoNode) || !strings.Contains(err.Error(), "worker9; see: paictl node list") {
		t.Errorf("an absent node: %v", err)
	}
	if _, err := s.Preparation(t.Context(), "worker1"); err == nil || !strings.Contains(err.Error(), "paictl service status -n node-agent") {
		t.Errorf("no report: %v", err)
	}
	torn := reportOf(t)
	torn.Data[storagecheck.ReportKey] = "{"
	s.client = kubefake.New(lackingWorker(t)[0], torn)
	if _, err := s.Preparation(t.Context(), "worker1"); err == nil || !strings.Contains(err.Error(), "report of node worker1") {
		t.Errorf("a torn report: %v", err)
	}
	s.client = kubefake.New(lackingWorker(t, "mount.nfs")...)
	p, err := s.Preparation(t.Context(), "worker1")
	if err != nil || p.Ready() || p.Node != "worker1" || p.OS != "Ubuntu 24.04" || len(p.Commands) != 3 || !p.Reported.Equal(time.Unix(1e9, 0)) || p.Faults[0] != "no space left" {
		t.Errorf("got %+v, %v", p, err)
	}
}

// TestPrepare: the commands run on that worker alone, as root of the machine, without a token of Kubernetes; the pod is gone afterwards.
func TestPrepare(t *testing.T) {
	client := kubefake.New(lackingWorker(t, "mount.nfs")...)
	made := kubelet(client, corev1.PodSucceeded, 0, func() {
		if err := client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("configmaps"), reportOf(t), storagecheck.ReportNamespace); err != nil {
			t.Error(err)
		}
	})
	s := &Services{client: client, Note: func(string, string) {}}
	p, err := s.Preparation(t.Context(), "worker1")
	if err != nil {
		t.Fatal(err)
	}
	ctx := await.Context(t)
	var out strings.Builder
	after, err := s.Prepare(ctx, p, &out)
	if err != nil || !after.Ready() || out.String() != "fake logs" {
		t.Fatalf("got %+v, %v, printed %q", after, err, out.String())
	}
	spec := (*made)[0].Spec
	c := spec.Containers[0]
	if spec.NodeName != "worker1" || !spec.HostPID || *spec.AutomountServiceAccountToken || spec.ActiveDeadlineSeconds == nil || spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("the pod: %+v", spec)
	}
	if c.Image != "registry.example.org/agent:7" || !*c.SecurityContext.Privileged || c.Command[len(c.Command)-1] != strings.Join(p.Commands, "\n") {
		t.Errorf("the container: %+v", c)
	}
	if left, _ := client.CoreV1().Pods(systemNamespace).List(t.Context(), metav1.ListOptions{}); len(left.Items) != 0 {
		t.Errorf("%d pods are left", len(left.Items))
	}
	if again, err := s.Prepare(ctx, after, &out); err != nil || !again.Ready() || len(*made) != 1 {
		t.Errorf("a worker that lacks nothing: %v, %d pods", err, len(*made))
	}
}

// TestPrepareFails: each way in which it can, with what to do; no pod is left but that of somebody else.
func TestPrepareFails(t *testing.T) {
	pod := func(phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "node-prepare-worker1"}, Status: corev1.PodStatus{Phase: phase}}
	}
	for _, c := range []struct {
		name    string
		objects []runtime.Object
		phase   corev1.PodPhase
		want    string
		left    int
	}{
		{name: "no agent", objects: lackingWorker(t, "cifs")[:2], want: "paictl service start -n node-agent"},
		{name: "the commands fail", objects: lackingWorker(t, "cifs"), phase: corev1.PodFailed, want: "prepare worker1: the commands ended with exit status 100; what they printed says why"},
		{name: "the pod does not start", objects: lackingWorker(t, "cifs"), phase: corev1.PodPending, want: "enough"},
		{name: "nothing changes", objects: lackingWorker(t, "cifs"), phase: corev1.PodSucceeded, want: "the agent of worker1 does not find kernel module cifs"},
		{name: "somebody else", objects: append(lackingWorker(t, "cifs"), pod(corev1.PodRunning)), phase: corev1.PodSucceeded, want: "somebody does already", left: 1},
		{name: "a pod from before", objects: append(lackingWorker(t, "cifs"), pod(corev1.PodFailed)), phase: corev1.PodFailed, want: "exit status 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := kubefake.New(c.objects...)
			kubelet(client, c.phase, 100, func() {})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			s := &Services{client: client, Note: func(string, string) { cancel(errors.New("enough")) }}
			p, err := s.Preparation(t.Context(), "worker1")
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if _, err := s.Prepare(ctx, p, &out); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if left, _ := client.CoreV1().Pods(systemNamespace).List(t.Context(), metav1.ListOptions{}); len(left.Items) != c.left {
				t.Errorf("%d pods are left", len(left.Items))
			}
		})
	}
}
